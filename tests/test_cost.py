"""Prices: the list's own figures at the provider's own address, and no guess anywhere else."""

import genai_prices
import pytest

from llmscale.cost import Prices
from llmscale.records import Usage

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


@pytest.mark.parametrize(("provider", "name"), KNOWN)
def test_cached_input_is_cheaper(provider: str, name: str) -> None:
    fresh = LISTED.cost_usd(f"{provider}/{name}", Usage(input_tokens=10_000))
    cached = LISTED.cost_usd(
        f"{provider}/{name}", Usage(input_tokens=10_000, cached_input_tokens=9_000)
    )
    assert fresh is not None
    assert cached is not None
    assert 0 < cached < fresh


def test_writing_a_cache_costs_more_where_the_provider_bills_it() -> None:
    fresh = LISTED.cost_usd("anthropic/claude-sonnet-4-5", Usage(input_tokens=10_000))
    written = LISTED.cost_usd(
        "anthropic/claude-sonnet-4-5", Usage(input_tokens=10_000, cache_write_tokens=9_000)
    )
    assert fresh is not None
    assert written is not None
    assert written > fresh


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
@pytest.mark.parametrize("model", ["sim/gpt-4o", "sim/latency=1", "local/smollm2", "local//x.gguf"])
def test_a_model_in_this_process_is_free(model: str, is_listed: bool) -> None:
    assert Prices(is_listed=is_listed).cost_usd(model, PLAIN) == 0.0


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=5, cached_input_tokens=10),
        Usage(input_tokens=5, cached_input_tokens=3, cache_write_tokens=3),
    ],
)
def test_counts_that_contradict_each_other_have_no_price(usage: Usage) -> None:
    assert LISTED.cost_usd("anthropic/claude-sonnet-4-5", usage) is None


def test_a_call_that_reports_no_tokens_has_no_known_price() -> None:
    assert Prices(is_listed=True).cost_usd("openai/gpt-4.1-mini", Usage()) is None
