"""What an attempt has cost: known, nothing, or nobody knows; and when money is asked for."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from llmscale.accounting.budget import CallBounds, CostBudget
from llmscale.accounting.prices import OwnPrice, Prices
from llmscale.accounting.stats import Stats
from llmscale.core.errors import CallFailed, CallStopped
from llmscale.core.records import Failure, FailureKind, Quota, Reply, Request, Usage
from llmscale.engine.balance.attempts import cost_of_failure_usd, cost_of_replies_usd
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.retry import Balancer, RetryPolicy
from llmscale.engine.balance.strategies import strategy

QUICK = RetryPolicy(timeout_s=10, max_attempts=3, retry_time_s=600, backoff_s=1, max_backoff_s=8)
PRICES = Prices(is_listed=False, own=[OwnPrice("openai/*", 1_000.0, 1_000.0)])
# may cost $2.28
REQUEST = Request(model="openai/m", messages=[{"role": "user", "content": "hi"}], max_tokens=1_000)


def reply(tokens: int = 1_000, cost_usd: float | None = None) -> Reply:
    usage = Usage(tokens, 0)
    return Reply(text="hi", finish_reason="stop", model="m", usage=usage, cost_usd=cost_usd)


def failed(kind: FailureKind, **fields: Any) -> Failure:
    return Failure(kind=kind, message="as scripted", **fields)


@pytest.mark.parametrize(
    ("failure", "cost_usd"),
    [
        (failed("bad_response", reply=reply(cost_usd=0.25), status=200), 0.25),
        (failed("content_filter", reply=reply(cost_usd=None), status=200), None),
        (failed("connection", unsent=True), 0.0),
        (failed("connection"), None),
        (failed("timeout"), None),
        (failed("bad_response"), None),
        (failed("bad_response", status=200), None),
        (failed("internal"), None),
        (failed("invalid_request"), 0.0),
        (failed("rate_limited", status=429), 0.0),
        (failed("server_error", status=500), 0.0),
        (failed("server_error", status=502), 0.0),
        (failed("overloaded", status=503), 0.0),
        (failed("unauthorized", status=401, stops_job=True), 0.0),
        (failed("timeout", status=408), None),
        (failed("server_error", status=504), None),
        (failed("server_error", status=524), None),
    ],
)
def test_a_failed_attempt_costs_nothing_only_where_nobody_can_have_billed_it(
    failure: Failure, cost_usd: float | None
) -> None:
    assert cost_of_failure_usd(failure) == cost_usd


@pytest.mark.parametrize(
    ("costs", "cost_usd"), [([0.5, 0.25], 0.75), ([0.5, None], None), ([0.0], 0.0), ([], 0)]
)
def test_the_cost_of_a_lot_is_known_where_that_of_all_its_rows_is(
    costs: list[float | None], cost_usd: float | None
) -> None:
    assert cost_of_replies_usd([reply(cost_usd=c) for c in costs]) == cost_usd


class Scripted:
    """Answers in order: tokens after a second, or a failure."""

    quota: Quota | None = None

    def __init__(self, *script: int | Failure, takes_s: float = 1.0) -> None:
        self.called_at_s: list[float] = []
        self._script = list(script)
        self._takes_s = takes_s

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self.called_at_s.append(asyncio.get_running_loop().time())
        step = self._script.pop(0) if self._script else 1_000
        if isinstance(step, Failure):
            raise CallFailed(step)
        await asyncio.sleep(self._takes_s)
        return [reply(step) for _ in requests]

    async def aclose(self) -> None:
        """Hold nothing."""


class Bench:
    """One endpoint under `Balancer`, with a budget."""

    def __init__(self, provider: Scripted, max_usd: float, prices: Prices = PRICES) -> None:
        endpoint = Endpoint("a", provider, Slots(8), prices)
        least_loaded = strategy("least-loaded", "openai/m", random.Random(0))
        self.pool = Pool([endpoint], least_loaded)
        self.budget = CostBudget(max_usd, CallBounds(lambda _: [prices], lambda _: None))
        self.stats = Stats()
        self.balanced = Balancer(lambda _: self.pool, QUICK, self.stats, budget=self.budget)

    async def send(self) -> Reply:
        (answered,) = await self.balanced.send((REQUEST,))
        return answered


@pytest.mark.looptime
async def test_every_attempt_is_charged_its_cost() -> None:
    """1,000 tokens for a dollar; an empty answer was paid for, a 500 was not."""
    paid = failed("bad_response", retryable=True, reply=reply(500))
    bench = Bench(Scripted(paid, failed("server_error", retryable=True, status=500), 2_000), 50.0)
    assert (await bench.send()).attempts == 3
    assert bench.budget.spent_usd == pytest.approx(0.5 + 2.0)
    assert bench.budget.left_usd == pytest.approx(47.5)
    assert bench.stats.spend().cost_usd == pytest.approx(2.5)


@pytest.mark.looptime
async def test_an_answer_without_usage_counts_as_the_most_that_it_can_have_cost() -> None:
    bench = Bench(Scripted(0), 50.0)
    await bench.send()
    assert bench.budget.spent_usd == 0
    assert bench.budget.unconfirmed_usd == bench.budget.max_call_usd((REQUEST,))


@pytest.mark.looptime
async def test_the_wait_for_money_is_not_inside_the_deadline_and_not_in_the_latency() -> None:
    """Each call takes 8 of the 10 s that it may, and there is money for one at a time."""
    bench = Bench(Scripted(10, 10, 10, 10, takes_s=8.0), 4.0)
    replies = await asyncio.gather(*(bench.send() for _ in range(4)))
    assert [r.latency_s for r in replies] == pytest.approx([8.0] * 4)
    assert [r.attempts for r in replies] == [1] * 4
    assert asyncio.get_running_loop().time() == pytest.approx(32)


@pytest.mark.looptime
async def test_who_had_to_wait_for_money_does_not_go_to_an_endpoint_that_asked_for_a_rest() -> None:
    rests = failed("rate_limited", retryable=True, retry_after_s=30, status=429)
    provider = Scripted(rests)
    bench = Bench(provider, 4.0)
    await asyncio.gather(bench.send(), bench.send())
    assert provider.called_at_s[0] == 0
    assert min(provider.called_at_s[1:]) >= 30


@pytest.mark.looptime
async def test_when_the_budget_is_reached_calls_end_and_their_rows_stay_pending() -> None:
    bench = Bench(Scripted(), 7.0)  # a call costs $1, and may cost 2.28
    ended = await asyncio.gather(*(bench.send() for _ in range(9)), return_exceptions=True)
    assert sum(isinstance(e, Reply) for e in ended) == 5
    assert sum(isinstance(e, CallStopped) for e in ended) == 4
    assert bench.budget.reached is not None
    assert bench.budget.spent_usd == pytest.approx(5.0)


@pytest.mark.looptime
async def test_after_a_cancellation_nothing_stays_set_aside() -> None:
    """In flight it may have been billed; in the queue for a place it was not."""
    bench = Bench(Scripted(takes_s=9.0), 1_000.0)
    calls = [asyncio.create_task(bench.send()) for _ in range(10)]
    await asyncio.sleep(1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    max_call_usd = bench.budget.max_call_usd((REQUEST,))
    assert bench.budget.unconfirmed_usd == pytest.approx(8 * max_call_usd)
    assert bench.budget.left_usd == pytest.approx(1_000 - 8 * max_call_usd)


@pytest.mark.looptime
async def test_a_stop_sends_away_who_waits_for_money() -> None:
    bench = Bench(Scripted(takes_s=5.0), 4.0)
    first, second = (asyncio.create_task(bench.send()) for _ in range(2))
    await asyncio.sleep(1)
    bench.balanced.stop()
    with pytest.raises(CallStopped):
        await second
    assert (await first).text == "hi"
    assert bench.budget.reached is None


@pytest.mark.looptime
async def test_a_call_that_nothing_bounds_is_not_tried() -> None:
    provider = Scripted()
    bench = Bench(provider, 50.0, Prices(is_listed=False))
    with pytest.raises(CallFailed, match="the price of openai/m is unknown") as raised:
        await bench.send()
    assert raised.value.attempts == 0
    assert provider.called_at_s == []
