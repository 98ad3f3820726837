"""Prices: one's own, then the list's at the provider's own address, and no guess anywhere else."""

import genai_prices
import pytest

from llmscale.accounting.prices import OwnPrice, Prices
from llmscale.core.records import Usage

PLAIN = Usage(input_tokens=1_000_000, output_tokens=500_000)
LISTED = Prices(is_listed=True)

KNOWN = [
    ("openai", "gpt-4.1-mini"),
    ("openai", "gpt-4o"),
    ("openai", "o3-mini"),
    ("anthropic", "claude-3-5-haiku-latest"),
    ("anthropic", "claude-sonnet-4-5"),
]


@pytest.mark.parametrize(("provider", "name"), KNOWN)
@pytest.mark.parametrize(
    "usage",
    [
        PLAIN,
        Usage(input_tokens=1_000, output_tokens=7),
        Usage(input_tokens=1_000, output_tokens=7, cached_input_tokens=900),
        Usage(input_tokens=1_000, output_tokens=7, cached_input_tokens=1, cache_write_tokens=900),
    ],
)
def test_a_known_model_costs_what_the_price_list_says(
    provider: str, name: str, usage: Usage
) -> None:
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    listed = genai_prices.calc_price(counted, name, provider_id=provider).total_price
    assert listed > 0
    assert LISTED.cost_usd(f"{provider}/{name}", usage) == pytest.approx(float(listed), rel=1e-12)


def test_a_price_is_in_dollars_and_not_in_dollars_a_million() -> None:
    cost_usd = LISTED.cost_usd("openai/gpt-4.1-mini", PLAIN)
    assert cost_usd == pytest.approx(0.40 + 0.80)  # the list price of 2025-04: 0.40 and 1.60


def test_costs_of_two_calls_are_not_mixed_up() -> None:
    small, large = Usage(input_tokens=10), Usage(input_tokens=1_000)
    first = [LISTED.cost_usd("openai/gpt-4o", usage) for usage in (small, large)]
    assert first[1] == pytest.approx((first[0] or 0) * 100)
    assert first == [LISTED.cost_usd("openai/gpt-4o", usage) for usage in (small, large)]
    assert LISTED.cost_usd("openai/gpt-4.1-mini", small) != first[0]


@pytest.mark.parametrize("model", ["openai/no-such-model-at-all", "anthropic/gpt-4o", "openai/"])
def test_an_unknown_model_has_no_price_and_not_a_price_of_zero(model: str) -> None:
    assert LISTED.cost_usd(model, PLAIN) is None


@pytest.mark.parametrize(("provider", "name"), KNOWN)
def test_another_address_has_no_list_price(provider: str, name: str) -> None:
    assert Prices(is_listed=False).cost_usd(f"{provider}/{name}", PLAIN) is None


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_model_in_this_process_is_free(is_listed: bool) -> None:
    assert Prices(is_listed=is_listed, is_free=True).cost_usd("sim/gpt-4o", PLAIN) == 0.0


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=5, cached_input_tokens=10),
        Usage(input_tokens=5, cached_input_tokens=3, cache_write_tokens=3),
    ],
)
def test_counts_that_contradict_each_other_have_no_price(usage: Usage) -> None:
    assert LISTED.cost_usd("anthropic/claude-sonnet-4-5", usage) is None


OWN = OwnPrice("openai/mine", 2.0, 8.0, cached_input_usd=0.5, cache_write_usd=2.5)


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("model", ["openai/gpt-4o", "openai/no-such-model", "sim/a", "local/x"])
def test_an_own_price_goes_before_the_list_at_whatever_address(model: str, is_listed: bool) -> None:
    prices = Prices(is_listed=is_listed, own=[OwnPrice(model, 1.0, 2.0)])
    assert prices.cost_usd(model, PLAIN) == pytest.approx(1.0 + 1.0)


@pytest.mark.parametrize(
    ("usage", "cost_usd"),
    [
        (Usage(1_000_000), 2.0),
        (Usage(0, 1_000_000), 8.0),
        (Usage(1_000_000, cached_input_tokens=1_000_000), 0.5),
        (Usage(1_000_000, cached_input_tokens=600_000, cache_write_tokens=400_000), 0.3 + 1.0),
        (Usage(1_000_000, 1_000_000, cached_input_tokens=500_000), 1.0 + 0.25 + 8.0),
        (Usage(0, 1_000_000, reasoning_tokens=900_000), 8.0),
        (Usage(5, cached_input_tokens=10), None),
        (Usage(5, cached_input_tokens=3, cache_write_tokens=3), None),
        (Usage(), None),
    ],
)
def test_input_holds_the_cached_part_and_output_the_reasoning_part(
    usage: Usage, cost_usd: float | None
) -> None:
    found = Prices(is_listed=False, own=[OWN]).cost_usd("openai/mine", usage)
    assert found == (None if cost_usd is None else pytest.approx(cost_usd))


def test_the_prices_of_a_cache_are_that_of_other_input_until_they_are_set() -> None:
    plain = Prices(is_listed=False, own=[OwnPrice("a/b", 3.0, 1.0)])
    for usage in (Usage(1_000_000, cached_input_tokens=7), Usage(1_000_000, cache_write_tokens=7)):
        assert plain.cost_usd("a/b", usage) == pytest.approx(3.0)


def test_output_without_a_price_is_unknown_and_not_free() -> None:
    prices = Prices(is_listed=False, own=[OwnPrice("openai/embed", 1.0)])
    assert prices.cost_usd("openai/embed", Usage(1_000_000)) == pytest.approx(1.0)
    assert prices.cost_usd("openai/embed", Usage(1_000_000, 1)) is None


def test_the_first_own_price_whose_pattern_fits_counts() -> None:
    own = [OwnPrice("openai/big-*", 5.0, 5.0), OwnPrice("openai/*", 1.0, 1.0)]
    prices = Prices(is_listed=True, own=own)
    assert prices.cost_usd("openai/big-1", Usage(1_000_000)) == pytest.approx(5.0)
    assert prices.cost_usd("openai/gpt-4o", Usage(1_000_000)) == pytest.approx(1.0)
    assert prices.cost_usd("anthropic/claude-sonnet-4-5", Usage(1_000)) == pytest.approx(0.003)


@pytest.mark.parametrize(("provider", "name"), KNOWN)
@pytest.mark.parametrize("cached", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("written", [0.0, 0.7])
@pytest.mark.parametrize(("input_tokens", "output_tokens"), [(1, 1), (999, 50), (500_000, 20_000)])
def test_the_most_is_never_below_the_cost_however_much_is_cached(
    provider: str, name: str, cached: float, written: float, input_tokens: int, output_tokens: int
) -> None:
    model = f"{provider}/{name}"
    cached_tokens = int(input_tokens * cached)
    written_tokens = int((input_tokens - cached_tokens) * written)
    usage = Usage(input_tokens, output_tokens, cached_tokens, written_tokens)
    for prices in (LISTED, Prices(is_listed=False, own=[OWN._replace(model="*")])):
        cost_usd = prices.cost_usd(model, usage)
        max_call_usd = prices.max_call_usd(model, input_tokens, output_tokens)
        assert cost_usd is not None
        assert max_call_usd is not None
        assert cost_usd <= max_call_usd


def test_the_most_of_an_unknown_model_is_unknown_and_of_a_free_one_nothing() -> None:
    assert LISTED.max_call_usd("openai/no-such-model-at-all", 5, 5) is None
    assert Prices(is_listed=True, is_free=True).max_call_usd("sim/a", 5, 5) == 0.0
    assert Prices(is_listed=False, own=[OwnPrice("e/m", 1.0)]).max_call_usd("e/m", 5, 1) is None
