"""The budget of a run: what is refused at the start, and by which prices and bounds it goes."""

from typing import Any

import pytest

from llmscale.config import Config, EndpointConfig, PriceConfig
from llmscale.core.errors import BudgetReached, ConfigError, StorageError
from llmscale.core.records import Request, Usage
from llmscale.providers import PROVIDERS, ProviderSpec, Task
from llmscale.runtime.costs import budget_of, check_budget, prices_at, with_rows_left
from llmscale.runtime.models import Models
from tests.settings import config_of

OWN = PriceConfig(model="openai/*", input=1.0, output=2.0)
ELSEWHERE = {"base_url": "http://127.0.0.1:9/v1"}


def checked(task: Task = "chat", **settings: Any) -> None:
    config = config_of(max_cost=5.0, **settings)
    check_budget(config, Models(config.models), task)


@pytest.mark.parametrize("spec", PROVIDERS.values(), ids=PROVIDERS)
def test_a_model_is_free_where_its_provider_runs_in_this_process(spec: ProviderSpec) -> None:
    prices = prices_at(config_of().cost, EndpointConfig(model=f"{spec.name}/nobody-lists-it"))
    expected = None if spec.is_remote else 0.0
    assert prices.cost_usd(f"{spec.name}/nobody-lists-it", Usage(1_000)) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "openai/gpt-4.1-mini", "max_tokens": 5},
        {"model": "openai/x", "max_tokens": 5, "price": (OWN,), **ELSEWHERE},
        {"model": "openai/x", "price": (PriceConfig(model="*", input=1, output=1, max_output=9),)},
        {"model": "anthropic/claude-sonnet-4-5"},
        {"model": "sim/a"},
        {"model": "local/smollm2"},
        {"model": "openai/x", "price": (PriceConfig(model="openai/x", input=0, output=0),)},
        {"model": "sim/a", "fallback": {"sim/a": ("sim/b",)}},
    ],
)
def test_a_cap_that_can_be_enforced_is_accepted(settings: dict[str, Any]) -> None:
    checked(**settings)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"model": "openai/no-such-model", "max_tokens": 5},
            "--max-cost needs the price of openai/no-such-model, which is not known; set it in "
            r'llmscale.toml: \[\[price\]\], model = "openai/no-such-model", and input and output',
        ),
        (
            {"model": "openai/gpt-4.1-mini", "max_tokens": 5, **ELSEWHERE},
            "the price of openai/gpt-4.1-mini at http://127.0.0.1:9/v1, which is not known",
        ),
        (
            {"model": "openai/gpt-4.1-mini"},
            "--max-cost needs a bound of what an answer of openai/gpt-4.1-mini can cost; set "
            "--max-tokens, or max_output in its",
        ),
        ({"model": "openai/x", "price": (OWN,)}, "needs a bound of what an answer of openai/x"),
        (
            {"model": "openai/x", "price": (PriceConfig(model="openai/x", input=1),)},
            "the price of openai/x, which",
        ),
        (
            {"model": "sim/a", "fallback": {"sim/a": ("openai/x",)}, "max_tokens": 5}
            | {"endpoint": (EndpointConfig(model="sim/a"), EndpointConfig(model="openai/x"))},
            "the price of openai/x, which",
        ),
    ],
)
def test_a_cap_that_can_not_be_enforced_is_refused_by_model_and_with_what_to_do(
    settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        checked(**settings)


def test_for_embeddings_neither_output_nor_a_bound_is_asked_for() -> None:
    checked("embedding", model="openai/e", price=(PriceConfig(model="openai/e", input=1),))
    checked("embedding", model="openai/text-embedding-3-small")


def test_without_a_cap_there_is_no_budget_and_nothing_is_refused() -> None:
    config = config_of(model="openai/no-such-model")
    check_budget(config, Models(config.models))
    assert budget_of(config.cost, Models(config.models)) is None


def max_call_usd(config: Config, **fields: Any) -> float:
    budget = budget_of(config.cost, Models(config.models))
    assert budget is not None
    return budget.max_call_usd((Request(model=config.models.default_model, messages=[], **fields),))


def test_an_answer_without_a_bound_counts_as_the_longest_of_its_model() -> None:
    price = PriceConfig(model="openai/*", input=0, output=1e6, max_output=77)
    config = config_of(max_cost=5, model="openai/x", price=(price,))
    assert max_call_usd(config) == 77
    assert max_call_usd(config, max_tokens=200) == 200, "the request's own bound goes first"


def test_for_anthropic_it_is_the_bound_that_is_always_sent() -> None:
    price = PriceConfig(model="anthropic/*", input=0, output=1e6)
    config = config_of(max_cost=5, model="anthropic/x", price=(price,))
    assert max_call_usd(config) == PROVIDERS["anthropic"].default_max_tokens


def test_an_endpoint_has_the_own_prices_and_the_list_only_at_the_own_address() -> None:
    config = config_of(price=(PriceConfig(model="openai/mine", input=3.0),))
    million = Usage(1_000_000)
    for base_url in (None, "http://127.0.0.1:9/v1"):
        endpoint = EndpointConfig(model="openai/mine", base_url=base_url)
        prices = prices_at(config.cost, endpoint)
        assert prices.cost_usd("openai/mine", million) == pytest.approx(3.0)
        assert (prices.cost_usd("openai/gpt-4.1-mini", million) is None) == (base_url is not None)


def test_only_a_reached_budget_names_the_rows_that_are_left() -> None:
    assert "; 5 rows are left" in str(with_rows_left(BudgetReached("$1 is spent"), 5))
    other = StorageError("full")
    assert with_rows_left(other, 5) is other
