"""Which of several endpoints takes a call: four strategies behind one small seam."""

import random
from collections import Counter
from itertools import pairwise
from typing import get_args

import pytest

from llmscale.accounting.prices import Prices
from llmscale.core.choices import StrategyName
from llmscale.core.records import Failure, Usage
from llmscale.engine.balance.adaptive_window import AdaptiveWindow
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.strategies import strategy
from tests.engine.balance import Unasked

NAMES: tuple[StrategyName, ...] = get_args(StrategyName)


class Price(Prices):
    """A price for each token."""

    def __init__(self, usd: float | None) -> None:
        super().__init__(is_listed=False)
        self._usd = usd

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        tokens = usage.input_tokens + usage.output_tokens
        return None if self._usd is None else self._usd * tokens


def endpoint(
    name: str,
    capacity: int = 10,
    weight: float = 1.0,
    in_flight: int = 0,
    latency_s: float = 0.0,
    usd: float | None = 0.0,
) -> Endpoint:
    """Return one with a load and a price for each token."""
    one = Endpoint(name, Unasked(), Slots(capacity), Price(usd), weight=weight)
    if latency_s:
        one.answered(0, latency_s, 10)
    one.in_flight = in_flight
    return one


def chosen(name: StrategyName, *candidates: Endpoint, times: int = 300) -> Counter[str]:
    """Choose that often, without a change of load; return how often which."""
    choose = strategy(name, "sim/m", random.Random(1))
    return Counter(choose(candidates).name for _ in range(times))


@pytest.mark.parametrize("name", NAMES)
def test_the_only_candidate_is_chosen(name: StrategyName) -> None:
    assert chosen(name, endpoint("a")) == {"a": 300}


@pytest.mark.parametrize("name", ["least-loaded", "latency", "cost"])
def test_ties_are_broken_by_lot(name: StrategyName) -> None:
    counts = chosen(name, *(endpoint(n, latency_s=1) for n in "abc"))
    assert set(counts) == set("abc")
    assert min(counts.values()) > 60


def test_least_loaded_takes_the_least_share_of_the_capacity() -> None:
    assert chosen(
        "least-loaded", endpoint("a", 10, in_flight=3), endpoint("b", 4, in_flight=2)
    ) == {"a": 300}


def test_least_loaded_gives_twice_the_calls_to_twice_the_weight() -> None:
    light, heavy = endpoint("light", 100), endpoint("heavy", 100, weight=2)
    choose = strategy("least-loaded", "sim/m", random.Random(1))
    for _ in range(90):
        choose((light, heavy)).in_flight += 1
    assert (light.in_flight, heavy.in_flight) == (30, 60)


def test_least_loaded_measures_by_the_room_that_there_is_and_not_by_the_capacity() -> None:
    window = AdaptiveWindow(10)
    for second in range(4):
        window.busy(second, second + 1)
    cut = Endpoint("cut", Unasked(), Slots(10, window), Prices(is_listed=False))
    whole = endpoint("whole", 10, in_flight=3)
    cut.in_flight = 1
    assert cut.utilisation > whole.utilisation
    assert chosen("least-loaded", cut, whole) == {"whole": 300}


def test_round_robin_is_even_and_in_turn() -> None:
    choose = strategy("round-robin", "sim/m", random.Random(1))
    endpoints = [endpoint(n) for n in "abc"]
    order = [choose(endpoints).name for _ in range(300)]
    assert Counter(order) == {"a": 100, "b": 100, "c": 100}
    assert all(first != second for first, second in pairwise(order))


def test_round_robin_goes_by_weight_and_spreads_what_it_gives() -> None:
    choose = strategy("round-robin", "sim/m", random.Random(1))
    endpoints = [endpoint("a", weight=5), endpoint("b"), endpoint("c")]
    order = "".join(choose(endpoints).name for _ in range(70))
    assert order == "aabacaa" * 10


def test_round_robin_makes_up_for_a_turn_that_an_endpoint_could_not_take() -> None:
    choose = strategy("round-robin", "sim/m", random.Random(1))
    a, b = endpoint("a"), endpoint("b")
    assert [choose((a,)).name for _ in range(5)] == ["a"] * 5
    counts = Counter(choose((a, b)).name for _ in range(100))
    assert abs(counts["a"] - counts["b"]) <= 2, "and not for five at once"


def test_cost_takes_the_cheapest_until_it_is_full_and_then_the_next() -> None:
    free, listed = endpoint("free", 3), endpoint("listed", 3, usd=1e-6)
    choose = strategy("cost", "sim/m", random.Random(1))
    order = []
    for _ in range(6):
        candidates = [e for e in (listed, free) if e.is_free(0.0)]
        order.append(choose(candidates))
        order[-1].in_flight += 1
    assert [e.name for e in order] == ["free"] * 3 + ["listed"] * 3


def test_cost_puts_a_price_that_is_not_known_last() -> None:
    unknown, dear = endpoint("unknown", usd=None), endpoint("dear", usd=1.0)
    assert chosen("cost", unknown, dear) == {"dear": 300}
    assert chosen("cost", unknown) == {"unknown": 300}


def test_cost_knows_the_list_price_of_a_provider_and_none_of_another_address() -> None:
    model = "openai/gpt-4.1-mini"
    own = Endpoint("own", Unasked(), Slots(10), Prices(is_listed=True))
    gateway = Endpoint("gateway", Unasked(), Slots(10), Prices(is_listed=False))
    choose = strategy("cost", model, random.Random(1))
    assert {choose((own, gateway)).name for _ in range(20)} == {"own"}


def test_cost_spreads_calls_over_those_of_one_price() -> None:
    assert chosen("cost", endpoint("a", in_flight=5), endpoint("b", in_flight=2)) == {"b": 300}


def test_latency_gives_a_slow_endpoint_less() -> None:
    quick, slow = endpoint("quick", 100, latency_s=1), endpoint("slow", 100, latency_s=4)
    choose = strategy("latency", "sim/m", random.Random(1))
    for _ in range(50):
        choose((quick, slow)).in_flight += 1
    assert quick.in_flight == pytest.approx(40, abs=2)
    assert slow.in_flight == pytest.approx(10, abs=2)


def test_latency_tries_an_endpoint_that_is_not_known_yet() -> None:
    assert chosen("latency", endpoint("known", latency_s=0.01), endpoint("new")) == {"new": 300}


def test_latency_goes_by_weight() -> None:
    light, heavy = endpoint("light", 100, 1, 0, 1.0), endpoint("heavy", 100, 3, 0, 1.0)
    choose = strategy("latency", "sim/m", random.Random(1))
    for _ in range(40):
        choose((light, heavy)).in_flight += 1
    assert (light.in_flight, heavy.in_flight) == (10, 30)


@pytest.mark.parametrize("was_well", [True, False])
def test_latency_sends_few_calls_to_an_endpoint_that_fails_fast(was_well: bool) -> None:
    well, sick = endpoint("well", latency_s=1), endpoint("sick", latency_s=1 if was_well else 0)
    failure = Failure(kind="server_error", message="", retryable=True)
    choose = strategy("latency", "sim/m", random.Random(1))
    counts: Counter[str] = Counter()
    for second in range(200):
        taken = choose((well, sick))
        counts[taken.name] += 1
        if taken is sick:
            sick.failed(failure, second, second + 0.01)
        else:
            well.answered(second, second + 1, 10)
    assert counts["sick"] <= 10


@pytest.mark.parametrize("name", NAMES)
async def test_a_pool_takes_whom_its_strategy_names_and_only_who_is_free(
    name: StrategyName,
) -> None:
    endpoints = [endpoint("a", 2), endpoint("b", 3), endpoint("c", 1)]
    pool = Pool(endpoints, strategy(name, "sim/m", random.Random(1)))
    for _ in range(6):
        await pool.acquire(set())
    assert [e.in_flight for e in endpoints] == [2, 3, 1]
