"""What the first call in a queue is held by: told at every change, and added up for each call."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from llmscale.accounting.prices import Prices
from llmscale.accounting.stats import BOTTLENECK_OF, Cause, Stats
from llmscale.core.errors import CallFailed, CallStopped
from llmscale.core.protocols import Budget, Reservation
from llmscale.core.records import Failure, FailureKind, Reply, Request, Usage
from llmscale.engine.balance.adaptive_window import AdaptiveWindow
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.retry import Balancer, RetryPolicy
from llmscale.engine.balance.strategies import strategy
from llmscale.engine.balance.wait_cause import WaitCause
from llmscale.engine.limits import RateLimits
from tests.engine.balance import Unasked

pytestmark = pytest.mark.looptime

REQUEST = Request(model="sim/m", messages=[{"role": "user", "content": "hello"}])
REPLY = Reply(text="hi", finish_reason="stop", model="m", usage=Usage(10, 2), cost_usd=0.0)
NOBODY: set[Endpoint] = set()


# --- the seconds


@pytest.mark.parametrize("by", BOTTLENECK_OF)
def test_limits_rests_and_paces_are_limits_and_places_are_none(by: Cause) -> None:
    holds = WaitCause()
    holds.switch(by, 10.0)
    is_limit = BOTTLENECK_OF[by] in ("requests", "tokens", "retries")
    assert holds.limited_s(14.0) == (4.0 if is_limit else 0.0)


def test_the_seconds_of_a_limit_go_on_until_something_else_holds_the_first_call() -> None:
    holds = WaitCause()
    assert holds.limited_s(5.0) == 0
    holds.switch("rpm", 5.0)
    holds.switch("refused", 7.0)
    holds.switch("capacity", 8.0)
    assert holds.limited_s(20.0) == 3
    holds.switch("tpm", 20.0)
    holds.switch(None, 21.0)
    assert (holds.by, holds.limited_s(99.0)) == (None, 4)


# --- what holds the first call of a pool


def endpoint(capacity: int = 1, limits: RateLimits | None = None, **settings: Any) -> Endpoint:
    free = Prices(is_listed=False, is_free=True)
    return Endpoint("a", Unasked(), Slots(capacity, **settings), free, limits)


def pool_of(*endpoints: Endpoint) -> Pool:
    return Pool(endpoints, strategy("least-loaded", "sim/m", random.Random(0)))


def held_by(pool: Pool) -> Cause | None:
    return pool.wait_cause.by


async def waiting_for(pool: Pool, tokens: int = 0) -> "asyncio.Task[Endpoint]":
    task = asyncio.create_task(pool.acquire(set(), tokens))
    await asyncio.sleep(0)
    return task


async def test_nobody_is_held_where_there_is_a_place() -> None:
    pool = pool_of(endpoint(2))
    await pool.acquire(NOBODY)
    assert (held_by(pool), pool.waiting) == (None, 0)


async def test_where_all_places_are_taken_that_holds_until_one_is_free() -> None:
    one = endpoint()
    pool = pool_of(one)
    await pool.acquire(NOBODY)
    tasks = [await waiting_for(pool), await waiting_for(pool)]
    assert (held_by(pool), pool.waiting) == ("capacity", 2)
    for task, by in zip(tasks, ("capacity", None), strict=True):
        pool.release(one)
        await task
        assert held_by(pool) == by


@pytest.mark.parametrize(
    ("limits", "tokens", "by"),
    [
        (lambda: RateLimits(60, None), 0, "rpm"),
        (lambda: RateLimits(None, 600), 300, "tpm"),
        (lambda: RateLimits(None, None, requests_per_day=1), 0, "rpd"),
        (lambda: RateLimits(None, None, tokens_per_day=500), 300, "tpd"),
    ],
)
async def test_the_limit_that_holds_is_named(limits: Any, tokens: int, by: Cause) -> None:
    pool = pool_of(endpoint(10, limits()))
    await pool.acquire(NOBODY, tokens)
    task = await waiting_for(pool, tokens)
    assert held_by(pool) == by
    task.cancel()


async def test_of_two_endpoints_the_one_that_opens_first_is_what_is_waited_for() -> None:
    resting, limited = endpoint(5), endpoint(5, RateLimits(6, None))
    pool = pool_of(resting, limited)
    pool.cool_down(resting, 30.0, "refused")
    assert await pool.acquire(NOBODY) is limited
    task = await waiting_for(pool)
    assert held_by(pool) == "rpm", "in ten seconds"
    await asyncio.sleep(9)
    assert held_by(pool) == "rpm"
    assert await task is limited


async def test_a_rest_is_told_by_what_it_is_for_and_the_longest_counts() -> None:
    one = endpoint(5)
    pool = pool_of(one)
    pool.cool_down(one, 10.0, "refused")
    pool.cool_down(one, 5.0, "failing")
    task = await waiting_for(pool)
    assert held_by(pool) == "refused"
    pool.cool_down(one, 20.0, "failing")
    pool.release(one)  # whose call has failed
    assert held_by(pool) == "failing"
    await task
    assert held_by(pool) is None


async def test_what_holds_changes_while_the_same_call_stays_the_first() -> None:
    """A place is taken, then the limit holds, as soon as the place is free."""
    one = endpoint(1, RateLimits(6, None))
    pool = pool_of(one)
    await pool.acquire(NOBODY)
    task = await waiting_for(pool)
    assert held_by(pool) == "capacity"
    await asyncio.sleep(4)
    pool.release(one)
    assert held_by(pool) == "rpm"
    await task
    assert pool.wait_cause.limited_s(asyncio.get_running_loop().time()) == pytest.approx(6, abs=0.1)


async def test_when_the_first_gives_up_the_next_is_told_by_its_own_need_and_may_go() -> None:
    one = endpoint(5, RateLimits(None, 600))
    pool = pool_of(one)
    await pool.acquire(NOBODY, 500)
    large, small = await waiting_for(pool, 550), await waiting_for(pool, 3)
    assert (held_by(pool), small.done()) == ("tpm", False)
    await asyncio.sleep(1)
    large.cancel()
    await asyncio.sleep(3)
    assert small.done(), "in a minute there would have been enough for the large one"
    assert held_by(pool) is None


async def test_when_the_last_gives_up_nobody_is_held() -> None:
    pool = pool_of(endpoint(5, RateLimits(6, None)))
    await pool.acquire(NOBODY)
    task = await waiting_for(pool)
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert held_by(pool) is None
    assert pool.wait_cause.limited_s(100.0) == pytest.approx(1)


async def test_after_a_stop_nobody_is_held() -> None:
    pool = pool_of(endpoint(5, RateLimits(6, None)))
    await pool.acquire(NOBODY)
    task = await waiting_for(pool)
    pool.stop()
    with pytest.raises(CallStopped):
        await task
    assert held_by(pool) is None


async def test_pools_that_share_an_endpoint_are_held_each_by_itself() -> None:
    shared, own = endpoint(1), endpoint(1)
    busy, other = pool_of(shared), pool_of(shared, own)
    assert await busy.acquire(NOBODY) is shared
    task = await waiting_for(busy)
    assert (held_by(busy), held_by(other)) == ("capacity", None)
    assert await other.acquire(NOBODY) is own
    assert held_by(other) is None
    busy.release(shared)
    assert await task is shared
    assert held_by(busy) is None


async def test_of_places_the_reason_is_named_that_is_easiest_to_mend() -> None:
    full, cut = endpoint(1), endpoint(10, window=AdaptiveWindow(10))
    assert cut.window is not None
    cut.window.size = 1.0
    pool = pool_of(full, cut)
    for _ in range(2):
        await pool.acquire(NOBODY)
    await waiting_for(pool)
    assert held_by(pool) == "capacity"


# --- what calls have waited for


class Fails:
    """Fails the first calls as it is told, and answers the others in a second."""

    quota = None

    def __init__(self, *failures: Failure) -> None:
        self._failures = list(failures)

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        if self._failures:
            raise CallFailed(self._failures.pop(0))
        await asyncio.sleep(1)
        return [REPLY for _ in requests]

    async def aclose(self) -> None:
        """Hold nothing."""


def failure(kind: FailureKind, retry_after_s: float | None = None) -> Failure:
    return Failure(kind=kind, message="", retryable=True, retry_after_s=retry_after_s)


class SlowMoney:
    """A budget that has the money of an attempt only after a while."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s

    def max_call_usd(self, requests: Sequence[Request]) -> float:
        return 1.0

    async def reserve(self, model: str, max_call_usd: float) -> Reservation:
        await asyncio.sleep(self._wait_s)
        return self

    def charge(self, cost_usd: float | None) -> None:
        """Keep nothing."""

    def stop(self) -> None:
        """Let nobody wait."""


class Bench:
    """One endpoint under `Balancer`."""

    def __init__(
        self,
        *failures: Failure,
        capacity: int = 1,
        limits: RateLimits | None = None,
        budget: Budget | None = None,
    ) -> None:
        free = Prices(is_listed=False, is_free=True)
        self.pool = pool_of(Endpoint("a", Fails(*failures), Slots(capacity), free, limits))
        self.stats = Stats()
        policy = RetryPolicy(backoff_s=8.0, max_backoff_s=8.0)
        self.balanced = Balancer(
            lambda _: self.pool, policy, self.stats, random.Random(1), budget=budget
        )

    async def send(self, calls: int = 1) -> None:
        await asyncio.gather(*(self.balanced.send((REQUEST,)) for _ in range(calls)))

    def waited(self) -> Any:
        """Return the longest waits for a place and for a limit, in seconds; check the total."""
        calls = self.stats.calls()
        found = [part.summary().max for part in (calls.queued, calls.limited, calls.total)]
        queued_s, limited_s, total_s = (seconds or 0.0 for seconds in found)
        assert total_s <= queued_s + limited_s + 1 + 1e-6
        return queued_s, limited_s


async def test_a_call_that_need_not_wait_has_waited_for_nothing() -> None:
    bench = Bench()
    await bench.send()
    assert bench.waited() == (0, 0)


async def test_waiting_for_a_place_is_queued_and_for_a_limit_limited() -> None:
    queued, limited = Bench(), Bench(capacity=10, limits=RateLimits(6, None))
    await queued.send(3)
    await limited.send(3)
    assert queued.waited() == (pytest.approx(2), 0)
    assert limited.waited() == (pytest.approx(0, abs=1e-3), pytest.approx(20, abs=0.5))


async def test_a_call_that_waits_for_one_and_then_the_other_has_a_part_of_each() -> None:
    bench = Bench(capacity=1, limits=RateLimits(6, None))
    await bench.send(2)
    queued_s, limited_s = bench.waited()
    assert queued_s == pytest.approx(1, abs=0.01)
    assert limited_s == pytest.approx(9, abs=0.5)


async def test_waiting_for_money_is_limited_and_counted_while_it_lasts() -> None:
    bench = Bench(capacity=5, budget=SlowMoney(4.0))
    sending = asyncio.create_task(bench.send(3))
    await asyncio.sleep(1)
    assert (bench.balanced.waiting_for_money, bench.pool.waiting) == (3, 0)
    await asyncio.sleep(4)
    assert bench.balanced.waiting_for_money == 0
    await sending
    assert bench.waited() == (0, pytest.approx(4))


async def test_a_call_that_is_given_up_waits_for_money_no_longer() -> None:
    bench = Bench(budget=SlowMoney(4.0))
    sending = asyncio.create_task(bench.send())
    await asyncio.sleep(1)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert bench.balanced.waiting_for_money == 0


async def test_the_wait_of_an_answer_is_that_of_its_attempt_without_the_backoff() -> None:
    bench = Bench(failure("server_error"))
    await bench.send()
    assert bench.waited() == (0, 0)
    assert bench.stats.calls().retries == 1


@pytest.mark.parametrize(
    ("failed", "by"),
    [
        (failure("server_error"), "failing"),
        (failure("timeout"), "failing"),
        (failure("overloaded", 5.0), "failing"),
        (failure("rate_limited"), "too_many"),
        (failure("rate_limited", 5.0), "refused"),
    ],
)
async def test_what_a_call_backs_off_from_is_counted_while_it_does(
    failed: Failure, by: Cause
) -> None:
    bench = Bench(failed)
    sending = asyncio.create_task(bench.send())
    await asyncio.sleep(0.5)
    assert +bench.balanced.backing_off == {by: 1}
    await sending
    assert +bench.balanced.backing_off == {}


@pytest.mark.parametrize(
    ("failed", "by"),
    [(failure("rate_limited", 30.0), "refused"), (failure("overloaded", 30.0), "failing")],
)
async def test_calls_behind_a_rest_are_held_by_what_it_is_for(failed: Failure, by: Cause) -> None:
    bench = Bench(failed, capacity=2)
    first = asyncio.create_task(bench.send())
    await asyncio.sleep(1)
    second = asyncio.create_task(bench.send())
    await asyncio.sleep(1)
    assert held_by(bench.pool) == by
    await asyncio.gather(first, second)
    assert bench.waited()[1] == pytest.approx(29, abs=0.1)


async def test_a_stop_ends_what_is_backed_off() -> None:
    bench = Bench(failure("server_error"))
    sending = asyncio.create_task(bench.send())
    await asyncio.sleep(0.5)
    bench.balanced.stop()
    with pytest.raises(CallStopped):
        await sending
    assert +bench.balanced.backing_off == {}
