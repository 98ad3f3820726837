"""Who takes a call: least used, ties by batch, first come first served, nothing above capacity."""

import asyncio
import random
from collections import Counter

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmscale.accounting.prices import Prices
from llmscale.core.errors import CallFailed, CallStopped
from llmscale.core.protocols import RateLimiter
from llmscale.core.records import Failure, Quota
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.strategies import strategy
from llmscale.engine.limits import RateLimits
from tests.engine.balance import Unasked
from tests.engine.limits.unlimited import Unlimited

NOBODY: set[Endpoint] = set()


class Spaced(Unlimited):
    """A limiter of one call every `gap_s`, of `max_call_tokens` at most."""

    def __init__(self, gap_s: float, max_call_tokens: float | None = None) -> None:
        super().__init__()
        self.max_call_tokens = max_call_tokens
        self._gap_s = gap_s
        self._opens_at_s = 0.0

    def wait_s(self, tokens: int) -> float:
        if self.max_call_tokens is not None and tokens > self.max_call_tokens:
            return float("inf")
        return max(0.0, self._opens_at_s - asyncio.get_running_loop().time())

    def reserve(self, tokens: int) -> None:
        super().reserve(tokens)
        self._opens_at_s = asyncio.get_running_loop().time() + self._gap_s


def endpoint(name: str, capacity: int = 1, limiter: RateLimiter | None = None) -> Endpoint:
    return Endpoint(name, Unasked(), Slots(capacity), Prices(is_listed=False), limiter)


def pool_of(*endpoints: Endpoint, seed: int = 0, patience_s: float = float("inf")) -> Pool:
    least_loaded = strategy("least-loaded", "sim/m", random.Random(seed))
    return Pool(endpoints, least_loaded, patience_s=patience_s)


async def one_turn() -> None:
    """Let every task that can run do so, without time passing."""
    for _ in range(5):
        await asyncio.sleep(0)


async def waiting_for(pool: Pool, tried: set[Endpoint] | None = None) -> asyncio.Task[Endpoint]:
    """Return a task that waits for a place already."""
    task = asyncio.create_task(pool.acquire(tried or set()))
    await one_turn()
    assert not task.done()
    return task


@pytest.mark.parametrize(
    ("in_flight", "capacity", "taken"),
    [
        ({"a": 3, "b": 1}, {"a": 10, "b": 10}, "b"),
        ({"a": 3, "b": 2}, {"a": 10, "b": 4}, "a"),  # 30 % against 50 %, though 3 > 2
        ({"a": 0, "b": 5}, {"a": 1, "b": 1_000}, "a"),
        ({"a": 1, "b": 5}, {"a": 1, "b": 1_000}, "b"),
        ({"a": 1, "b": 1}, {"a": 2, "b": 3}, "b"),
    ],
)
async def test_the_endpoint_with_the_least_share_in_use_takes_the_call(
    in_flight: dict[str, int], capacity: dict[str, int], taken: str
) -> None:
    endpoints = [endpoint(name, capacity[name]) for name in in_flight]
    for one in endpoints:
        one.in_flight = in_flight[one.name]
    assert (await pool_of(*endpoints).acquire(NOBODY)).name == taken


async def test_a_pick_is_counted_at_once() -> None:
    one = endpoint("a", 2)
    pool = pool_of(one)
    assert await pool.acquire(NOBODY) is one
    assert (one.in_flight, one.utilisation) == (1, 0.5)
    pool.release(one)
    assert (one.in_flight, one.utilisation) == (0, 0.0)


async def test_ties_are_broken_by_lot() -> None:
    endpoints = [endpoint(name, 10) for name in "abc"]
    pool = pool_of(*endpoints)
    picked: Counter[str] = Counter()
    for _ in range(300):
        taken = await pool.acquire(NOBODY)
        picked[taken.name] += 1
        pool.release(taken)
    assert set(picked) == {"a", "b", "c"}
    assert min(picked.values()) > 60


async def test_unequal_capacities_fill_in_proportion() -> None:
    small, large = endpoint("small", 3), endpoint("large", 30)
    pool = pool_of(small, large)
    for _ in range(11):
        await pool.acquire(NOBODY)
    assert 1 <= small.in_flight <= 2
    assert small.in_flight + large.in_flight == 11
    for _ in range(22):
        await pool.acquire(NOBODY)
    assert (small.in_flight, large.in_flight) == (3, 30)


async def test_a_tried_endpoint_is_taken_only_where_no_other_is_free() -> None:
    first, second = endpoint("first", 10), endpoint("second", 2)
    pool = pool_of(first, second)
    tried = {first}
    assert [(await pool.acquire(tried)).name for _ in range(3)] == ["second", "second", "first"]


async def test_who_waits_is_served_in_the_order_of_arrival() -> None:
    one = endpoint("a", 2)
    pool = pool_of(one)
    for _ in range(2):
        await pool.acquire(NOBODY)
    waiters = [await waiting_for(pool) for _ in range(5)]
    for number in range(5):
        pool.release(one)
        await one_turn()
        assert [task.done() for task in waiters] == [i <= number for i in range(5)]
    assert one.in_flight == 2


async def test_a_late_comer_does_not_overtake_who_waits() -> None:
    one = endpoint("a")
    pool = pool_of(one)
    await pool.acquire(NOBODY)
    first = await waiting_for(pool)
    pool.release(one)  # handed to the first before it runs
    late = await waiting_for(pool)
    assert first.done()
    assert not late.done()
    pool.release(one)
    assert await late is one


@pytest.mark.looptime
async def test_a_resting_endpoint_is_picked_at_its_time_and_by_no_other_event() -> None:
    one = endpoint("a", 10)
    pool = pool_of(one)
    pool.cool_down(one, 30)
    began_s = asyncio.get_running_loop().time()
    assert await pool.acquire(NOBODY) is one
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(30)


@pytest.mark.looptime
async def test_while_one_rests_another_takes_the_calls() -> None:
    resting, healthy = endpoint("resting", 100), endpoint("healthy", 5)
    pool = pool_of(resting, healthy)
    pool.cool_down(resting, 30)
    assert {(await pool.acquire(NOBODY)).name for _ in range(5)} == {"healthy"}
    assert asyncio.get_running_loop().time() == pytest.approx(0)
    assert (await pool.acquire(NOBODY)).name == "resting"
    assert asyncio.get_running_loop().time() == pytest.approx(30)


@pytest.mark.looptime
async def test_of_two_rests_the_first_to_end_is_picked() -> None:
    slow, quick = endpoint("slow"), endpoint("quick")
    pool = pool_of(slow, quick)
    pool.cool_down(slow, 60)
    pool.cool_down(quick, 20)
    assert pool.cooldown_left_s() == pytest.approx(20)
    assert (await pool.acquire(NOBODY)).name == "quick"
    assert asyncio.get_running_loop().time() == pytest.approx(20)
    assert (await pool.acquire(NOBODY)).name == "slow"
    assert asyncio.get_running_loop().time() == pytest.approx(60)


@pytest.mark.looptime
async def test_a_shorter_rest_does_not_shorten_a_longer_one() -> None:
    one = endpoint("a")
    pool = pool_of(one)
    pool.cool_down(one, 50)
    pool.cool_down(one, 1)
    await pool.acquire(NOBODY)
    assert asyncio.get_running_loop().time() == pytest.approx(50)


@pytest.mark.looptime
async def test_a_rest_that_is_extended_while_one_waits_is_kept() -> None:
    one = endpoint("a", 2)
    pool = pool_of(one)
    pool.cool_down(one, 10)
    waiter = await waiting_for(pool)
    asyncio.get_running_loop().call_later(5, pool.cool_down, one, 20)
    await waiter
    assert asyncio.get_running_loop().time() == pytest.approx(25)


@pytest.mark.looptime
async def test_a_place_freed_during_a_rest_goes_to_nobody() -> None:
    one = endpoint("a")
    pool = pool_of(one)
    await pool.acquire(NOBODY)
    waiter = await waiting_for(pool)
    pool.cool_down(one, 30)
    pool.release(one)
    await one_turn()
    assert not waiter.done()
    assert await waiter is one
    assert asyncio.get_running_loop().time() == pytest.approx(30)


@pytest.mark.looptime
async def test_after_a_rest_no_more_calls_begin_than_there_are_places() -> None:
    one = endpoint("a", 3)
    pool = pool_of(one)
    pool.cool_down(one, 10)
    waiters = [await waiting_for(pool) for _ in range(8)]
    await asyncio.sleep(11)
    assert [task.done() for task in waiters] == [True] * 3 + [False] * 5
    assert one.in_flight == 3
    for task in waiters:
        task.cancel()


@pytest.mark.looptime
async def test_untried_looks_for_an_endpoint_that_neither_rests_nor_was_tried() -> None:
    first, second = endpoint("first"), endpoint("second")
    pool = pool_of(first, second)
    assert pool.untried(set())
    assert pool.untried({first})
    assert not pool.untried({first, second})
    pool.cool_down(second, 10)
    assert not pool.untried({first})
    assert pool.cooldown_left_s() == 0
    await asyncio.sleep(10)
    assert pool.untried({first})


async def test_a_cancelled_waiter_takes_no_place() -> None:
    one = endpoint("a")
    pool = pool_of(one)
    await pool.acquire(NOBODY)
    first, second = await waiting_for(pool), await waiting_for(pool)
    first.cancel()
    await one_turn()
    pool.release(one)
    assert await second is one
    assert one.in_flight == 1


async def test_a_place_handed_over_in_the_moment_of_a_cancellation_is_given_on() -> None:
    one = endpoint("a")
    pool = pool_of(one)
    await pool.acquire(NOBODY)
    first, second = await waiting_for(pool), await waiting_for(pool)
    pool.release(one)  # the place is the first's now, which has not run yet
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second is one
    assert one.in_flight == 1
    pool.release(one)
    assert one.in_flight == 0


async def test_a_shared_endpoint_wakes_who_waits_in_the_other_pool() -> None:
    shared = endpoint("shared")
    one, other = pool_of(shared), pool_of(shared)
    await one.acquire(NOBODY)
    waiter = await waiting_for(other)
    one.release(shared)
    assert await waiter is shared
    assert shared.in_flight == 1


async def test_a_shared_place_goes_to_who_has_waited_longest_in_whichever_pool() -> None:
    shared = endpoint("shared")
    pools = [pool_of(shared), pool_of(shared)]
    await pools[0].acquire(NOBODY)
    order = [1, 0, 0, 1, 1, 0]
    waiters = [await waiting_for(pools[which]) for which in order]
    waiters[1].cancel()
    await one_turn()
    alive = [waiters[0], *waiters[2:]]
    for number in range(len(alive)):
        pools[0].release(shared)
        await one_turn()
        assert [task.done() for task in alive] == [i <= number for i in range(len(alive))]


@pytest.mark.looptime
async def test_a_rest_of_a_shared_endpoint_holds_in_both_pools() -> None:
    shared = endpoint("shared", 2)
    one, other = pool_of(shared), pool_of(shared)
    one.cool_down(shared, 15)
    waiter = await waiting_for(other)
    assert await waiter is shared
    assert asyncio.get_running_loop().time() == pytest.approx(15)


async def test_a_waiter_takes_an_endpoint_of_its_own_pool_only() -> None:
    shared, private = endpoint("shared"), endpoint("private")
    one, other = pool_of(shared, private), pool_of(shared)
    await other.acquire(NOBODY)
    waiter = await waiting_for(other)
    assert await one.acquire(NOBODY) is private
    one.release(private)
    await one_turn()
    assert not waiter.done()
    other.release(shared)
    assert await waiter is shared


@pytest.mark.looptime
async def test_who_waits_for_a_limit_goes_on_as_soon_as_it_allows_and_by_no_other_event() -> None:
    one = endpoint("a", 10, Spaced(20))
    pool = pool_of(one)
    waiters = [asyncio.create_task(pool.acquire(set())) for _ in range(3)]
    began_at_s = []
    for task in waiters:
        await task
        began_at_s.append(asyncio.get_running_loop().time())
    assert began_at_s == pytest.approx([0, 20, 40])


@pytest.mark.looptime
async def test_while_a_limit_holds_one_endpoint_another_takes_the_calls() -> None:
    limited, free = endpoint("limited", 10, Spaced(20)), endpoint("free", 2)
    pool = pool_of(limited, free)
    taken = [(await pool.acquire(NOBODY)).name for _ in range(4)]
    assert sorted(taken[:3]) == ["free", "free", "limited"]
    assert taken[3] == "limited"
    assert asyncio.get_running_loop().time() == pytest.approx(20)


async def test_what_a_call_takes_is_counted_where_it_goes() -> None:
    limiter = Spaced(0)
    one = endpoint("a", 10, limiter)
    await pool_of(one).acquire(NOBODY, 7)
    await pool_of(one).acquire(NOBODY, 9)
    assert limiter.reserved == [7, 9]


@pytest.mark.looptime
async def test_a_call_too_large_for_one_endpoint_waits_for_the_other() -> None:
    small, large = endpoint("small", 10, Spaced(0, 100)), endpoint("large", 10, Spaced(20, 1_000))
    pool = pool_of(small, large)
    assert [(await pool.acquire(NOBODY, 500)).name for _ in range(2)] == ["large", "large"]
    assert asyncio.get_running_loop().time() == pytest.approx(20)


@pytest.mark.looptime
async def test_a_small_call_does_not_overtake_a_large_one_that_waits_for_a_limit() -> None:
    class LargeOnesWait(Spaced):
        def wait_s(self, tokens: int) -> float:
            return super().wait_s(tokens) if tokens > 100 else 0.0

    one = endpoint("a", 10, LargeOnesWait(20))
    pool = pool_of(one)
    await pool.acquire(NOBODY, 500)
    large = asyncio.create_task(pool.acquire(set(), 500))
    await one_turn()
    small = await waiting_for(pool)
    await large
    assert asyncio.get_running_loop().time() == pytest.approx(20)
    await small
    assert asyncio.get_running_loop().time() == pytest.approx(20)


@pytest.mark.looptime
async def test_a_limit_and_a_rest_hold_both() -> None:
    one = endpoint("a", 10, Spaced(20))
    pool = pool_of(one)
    await pool.acquire(NOBODY)
    pool.cool_down(one, 30)
    await pool.acquire(NOBODY)
    assert asyncio.get_running_loop().time() == pytest.approx(30)
    pool.cool_down(one, 5)
    await pool.acquire(NOBODY)
    assert asyncio.get_running_loop().time() == pytest.approx(50)


@pytest.mark.parametrize(
    ("limits", "max_call_tokens", "counts_tokens"),
    [
        ([None], None, False),
        ([Spaced(0)], None, False),
        ([Spaced(0, 100)], 100, True),
        ([Spaced(0, 100), Spaced(0, 1_000)], 1_000, True),
        ([Spaced(0, 100), None], None, True),
        ([Spaced(0, 100), Spaced(0)], None, True),
    ],
)
def test_a_call_may_have_as_many_tokens_as_the_largest_limit(
    limits: list[RateLimiter | None], max_call_tokens: float | None, counts_tokens: bool
) -> None:
    pool = pool_of(*(endpoint("a", 1, limit) for limit in limits))
    assert (pool.max_call_tokens, pool.counts_tokens) == (max_call_tokens, counts_tokens)


async def test_an_endpoint_that_was_ill_has_one_call_at_a_time_until_it_is_well() -> None:
    one = endpoint("a", 3)
    pool = pool_of(one)
    one.breaker.is_closed = False
    assert await pool.acquire(NOBODY) is one
    waiters = [await waiting_for(pool) for _ in range(4)]
    pool.release(one)
    await one_turn()
    assert [task.done() for task in waiters] == [True, False, False, False]
    one.breaker.answered(0)
    pool.release(one)
    await one_turn()
    assert [task.done() for task in waiters] == [True] * 4
    assert one.in_flight == 3


async def test_stopping_sends_waiters_away_and_begins_nothing_new() -> None:
    one = endpoint("a", 2)
    pool = pool_of(one)
    for _ in range(2):
        await pool.acquire(NOBODY)
    waiters = [await waiting_for(pool) for _ in range(3)]
    pool.stop()
    for task in waiters:
        with pytest.raises(CallStopped):
            await task
    pool.release(one)
    with pytest.raises(CallStopped):
        await pool.acquire(NOBODY)
    assert one.in_flight == 1


async def test_stopping_forgives_a_waiter_that_was_cancelled_before() -> None:
    one = endpoint("a")
    pool = pool_of(one)
    await pool.acquire(NOBODY)
    waiter = await waiting_for(pool)
    waiter.cancel()
    pool.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert one.in_flight == 1


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "acquire", "acquire", "release", "cancel", "rest", "wait"]),
        st.integers(0, 20),
    ),
    max_size=60,
)


class Model:
    """A pool under random actions; what must always hold is checked after each."""

    def __init__(self, capacities: list[int], seed: int) -> None:
        self.endpoints = [endpoint(str(i), c) for i, c in enumerate(capacities)]
        self.pools = [pool_of(*self.endpoints, seed=seed), pool_of(self.endpoints[0], seed=seed)]
        self.waiting: list[asyncio.Task[Endpoint]] = []
        self.held: list[Endpoint] = []

    async def act(self, action: str, number: int) -> None:
        now_s = asyncio.get_running_loop().time()
        self.collect()
        if action == "acquire":
            pool = self.pools[number % 2]
            self.waiting.append(asyncio.create_task(pool.acquire(set())))
        elif action == "release" and self.held:
            self.pools[number % 2].release(self.held.pop(number % len(self.held)))
        elif action == "cancel" and self.waiting:
            self.waiting.pop(number % len(self.waiting)).cancel()
        elif action == "rest":
            self.pools[0].cool_down(self.endpoints[number % len(self.endpoints)], number)
        elif action == "wait":
            await asyncio.sleep(number)
        if number % 3:  # else the next action comes before any task has run
            await one_turn()
            self.check(now_s)

    def collect(self) -> None:
        """Take the places of those who have one by now; a cancellation would come too late."""
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            self.held.append(task.result())

    def check(self, before_s: float) -> None:
        self.collect()
        for one in self.endpoints:
            assert one.in_flight == self.held.count(one)
            assert one.in_flight <= one.capacity
        now_s = asyncio.get_running_loop().time()
        if self.waiting and now_s == before_s:
            for pool in self.pools:
                assert not (pool._waiting and any(e.is_free(now_s) for e in pool._endpoints))

    async def end(self) -> None:
        """Give every place back: whoever still waits is served, and nothing is left."""
        await asyncio.sleep(100)
        for _ in range(200):
            await one_turn()
            self.check(-1)
            if not self.held:
                break
            self.pools[0].release(self.held.pop())
        assert not self.waiting
        assert [one.in_flight for one in self.endpoints] == [0] * len(self.endpoints)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), ACTIONS, st.integers(0, 99))
@settings(max_examples=150)
def test_capacity_is_never_exceeded_and_no_place_lost_whatever_happens(
    capacities: list[int], actions: list[tuple[str, int]], seed: int
) -> None:
    async def play() -> None:
        model = Model(capacities, seed)
        for action, number in actions:
            await model.act(action, number)
        await model.end()

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(play())


@pytest.mark.looptime
async def test_after_a_rest_calls_begin_one_by_one_and_not_as_a_herd() -> None:
    """P03: 20 places and calls of a second, as far as is known: one every 50 ms."""
    one = endpoint("a", 20)
    pool = pool_of(one)
    pool.cool_down(one, 10)
    began_at_s = []
    for _ in range(20):
        await pool.acquire(NOBODY)
        began_at_s.append(asyncio.get_running_loop().time())
    assert began_at_s == pytest.approx([10 + 0.05 * number for number in range(20)], abs=1e-3)


@pytest.mark.looptime
async def test_the_pace_after_a_rest_is_that_of_the_calls_before_it() -> None:
    one = endpoint("a", 10)
    pool = pool_of(one)
    for _ in range(100):
        one.answered(began_s=0, now_s=4, tokens=10)
    pool.cool_down(one, 10)
    for _ in range(2):
        await pool.acquire(NOBODY)
    assert asyncio.get_running_loop().time() == pytest.approx(10.4, abs=0.01)


@pytest.mark.looptime
async def test_once_a_call_could_have_ended_after_a_rest_there_is_no_pace() -> None:
    one = endpoint("a", 20)
    pool = pool_of(one)
    pool.cool_down(one, 10)
    await asyncio.sleep(11.5)
    for _ in range(20):
        await pool.acquire(NOBODY)
    assert asyncio.get_running_loop().time() == pytest.approx(11.5)


@pytest.mark.looptime
async def test_an_endpoint_that_recovers_gets_its_calls_back_one_by_one() -> None:
    one = endpoint("a", 5)
    pool = pool_of(one)
    one.breaker.is_closed = False
    await pool.acquire(NOBODY)
    waiters = [await waiting_for(pool) for _ in range(4)]
    await asyncio.sleep(3)
    one.answered(began_s=2, now_s=3, tokens=10)
    pool.release(one)
    await asyncio.sleep(0.3)
    assert sum(task.done() for task in waiters) == 2
    await asyncio.gather(*waiters)
    assert asyncio.get_running_loop().time() == pytest.approx(3.6, abs=0.1)


@pytest.mark.looptime
async def test_a_probe_does_not_wait_for_calls_that_hang_since_the_illness() -> None:
    one = endpoint("a", 30)
    pool = pool_of(one)
    for _ in range(20):
        await pool.acquire(NOBODY)
    for _ in range(8):
        cooldown_s = one.count_failure("timeout", 0, 0, has_alternatives=False)
        if cooldown_s is not None:
            pool.cool_down(one, cooldown_s)
        pool.release(one)
    assert one.in_flight == 12, "which hang"
    async with asyncio.timeout(10):
        await pool.acquire(NOBODY)
    assert asyncio.get_running_loop().time() == pytest.approx(1)
    second = await waiting_for(pool)
    await asyncio.sleep(50)
    assert not second.done(), "one probe at a time"
    second.cancel()


@pytest.mark.looptime
async def test_a_large_call_is_not_starved_by_small_ones_under_a_limit_of_tokens() -> None:
    one = endpoint("a", 1_000, RateLimits(None, 60_000))
    pool = pool_of(one)
    order: list[int] = []

    async def call(tokens: int) -> None:
        await pool.acquire(set(), tokens)
        order.append(tokens)

    sizes = [500] * 10 + [20_000] + [500] * 50
    await asyncio.gather(*(call(size) for size in sizes))
    assert order == sizes


@pytest.mark.looptime
async def test_an_endpoint_out_of_its_quota_leaves_the_call_to_the_other_at_once() -> None:
    poor = endpoint("poor", 10, RateLimits(None, 60_000))
    rich = endpoint("rich", 10, RateLimits(None, 600_000))
    pool = pool_of(poor, rich)
    taken = [(await pool.acquire(NOBODY, 600)).name for _ in range(9)]
    assert (taken.count("poor"), taken.count("rich")) == (1, 8)
    assert asyncio.get_running_loop().time() == 0


@pytest.mark.looptime
async def test_the_queue_wakes_exactly_when_the_limit_opens() -> None:
    one = endpoint("a", 10, RateLimits(60, None))
    pool = pool_of(one)
    began_at_s = []
    for _ in range(5):
        await pool.acquire(NOBODY)
        began_at_s.append(asyncio.get_running_loop().time())
    assert began_at_s == pytest.approx([0, 1, 2, 3, 4], abs=1e-4)


async def refused(pool: Pool, tokens: int = 0) -> Failure:
    """Return why a call gets no endpoint."""
    with pytest.raises(CallFailed) as raised:
        await pool.acquire(set(), tokens)
    assert raised.value.attempts == 0
    return raised.value.failure


@pytest.mark.looptime
async def test_a_pool_that_rests_for_longer_than_its_patience_fails_calls_at_once() -> None:
    pool = pool_of(endpoint("a"), endpoint("b"), patience_s=30)
    for one in pool._endpoints:
        pool.cool_down(one, 40)
    failure = await refused(pool)
    assert asyncio.get_running_loop().time() == 0
    assert (failure.kind, failure.retryable) == ("overloaded", True)
    assert failure.message == "no endpoint answers; the next try is in 40 s"


@pytest.mark.looptime
async def test_a_pool_with_one_endpoint_that_is_soon_rested_is_waited_for() -> None:
    tired, soon = endpoint("tired"), endpoint("soon")
    pool = pool_of(tired, soon, patience_s=30)
    pool.cool_down(tired, 3_000)
    pool.cool_down(soon, 20)
    assert await pool.acquire(NOBODY) is soon
    assert asyncio.get_running_loop().time() == pytest.approx(20)


@pytest.mark.looptime
async def test_who_waits_is_sent_away_when_the_pool_is_exhausted() -> None:
    one = endpoint("a")
    pool = pool_of(one, patience_s=30)
    await pool.acquire(NOBODY)
    waiters = [await waiting_for(pool) for _ in range(5)]
    waiters[2].cancel()
    await asyncio.sleep(3)
    pool.cool_down(one, 31)
    for number, task in enumerate(waiters):
        with pytest.raises(asyncio.CancelledError if number == 2 else CallFailed):
            await task
    assert asyncio.get_running_loop().time() == pytest.approx(3)
    pool.release(one)
    assert one.in_flight == 0


@pytest.mark.looptime
async def test_without_a_limit_to_its_patience_a_pool_waits_for_any_rest() -> None:
    one = endpoint("a")
    pool = pool_of(one)
    pool.cool_down(one, 3_600)
    assert await pool.acquire(NOBODY) is one
    assert asyncio.get_running_loop().time() == pytest.approx(3_600)


def falls_ill(pool: Pool, one: Endpoint, failures: int = 8) -> None:
    """Let calls fail that begin now, until the endpoint is sent to rest."""
    now_s = asyncio.get_running_loop().time()
    for _ in range(failures):
        cooldown_s = one.count_failure("server_error", now_s, now_s, has_alternatives=True)
        if cooldown_s is not None:
            pool.cool_down(one, cooldown_s)


@pytest.mark.looptime
async def test_probes_that_fail_for_longer_than_the_patience_exhaust_a_pool() -> None:
    one = endpoint("a", 8)
    pool = pool_of(one, patience_s=10)
    falls_ill(pool, one)
    for at_s in (1, 3, 7):
        assert await pool.acquire(NOBODY) is one, "the rests are shorter than the patience"
        assert asyncio.get_running_loop().time() == pytest.approx(at_s)
        falls_ill(pool, one, failures=1)
        pool.release(one)
    assert await pool.acquire(NOBODY) is one
    assert asyncio.get_running_loop().time() == pytest.approx(15)
    falls_ill(pool, one, failures=1)
    pool.release(one)
    await refused(pool)
    assert asyncio.get_running_loop().time() == pytest.approx(15)


@pytest.mark.looptime
async def test_an_exhausted_pool_still_sends_a_probe_and_is_well_after_its_answer() -> None:
    one = endpoint("a", 8)
    pool = pool_of(one, patience_s=10)
    for _ in range(5):
        falls_ill(pool, one)
        await asyncio.sleep(31)
    falls_ill(pool, one, failures=1)
    await refused(pool)
    await asyncio.sleep(31)
    assert await pool.acquire(NOBODY) is one, "the probe"
    await refused(pool)
    now_s = asyncio.get_running_loop().time()
    one.answered(now_s, now_s, 10)
    pool.release(one)
    assert await pool.acquire(NOBODY) is one


@pytest.mark.looptime
async def test_a_rest_of_a_shared_endpoint_exhausts_the_pool_without_patience_only() -> None:
    shared = endpoint("shared")
    patient, impatient = pool_of(shared), pool_of(shared, patience_s=5)
    await patient.acquire(NOBODY)
    waiters = [await waiting_for(patient), await waiting_for(impatient)]
    patient.cool_down(shared, 20)
    await one_turn()
    assert [task.done() for task in waiters] == [False, True]
    with pytest.raises(CallFailed):
        await waiters[1]
    patient.release(shared)
    assert await waiters[0] is shared


@pytest.mark.looptime
async def test_ejections_are_counted_over_all_endpoints() -> None:
    first, second = endpoint("first"), endpoint("second")
    pool = pool_of(first, second)
    assert pool.trips == 0
    falls_ill(pool, first)
    falls_ill(pool, second)
    await asyncio.sleep(1)
    falls_ill(pool, first, failures=1)
    assert pool.trips == 3


@pytest.mark.parametrize(
    ("endpoints", "patience_s", "expected"),
    [(1, float("inf"), False), (2, float("inf"), True), (1, 30.0, True)],
)
def test_another_endpoint_and_another_model_are_alternatives(
    endpoints: int, patience_s: float, expected: bool
) -> None:
    pool = pool_of(*(endpoint(str(n)) for n in range(endpoints)), patience_s=patience_s)
    assert pool.has_alternatives == expected


@pytest.mark.looptime
async def test_a_call_that_became_too_large_while_it_waited_fails_and_holds_up_nobody() -> None:
    """The provider has told a lower limit: no minute will ever let that call out."""
    limits = RateLimits(None, 10_000)
    one = endpoint("a", 10, limits)
    pool = pool_of(one)
    await pool.acquire(NOBODY, 9_000)
    large = asyncio.create_task(pool.acquire(set(), 8_000))
    small = asyncio.create_task(pool.acquire(set(), 50))
    await one_turn()
    limits.learn(Quota(tokens_per_min=5_000.0))
    pool.release(one)
    with pytest.raises(CallFailed, match="needs about 8000 tokens, and the limit is 5000 a minute"):
        await large
    assert await small is one


@pytest.mark.looptime
async def test_a_call_too_large_for_the_free_endpoint_waits_for_a_place_of_the_other() -> None:
    small, large = endpoint("small", 1, Spaced(0, 100)), endpoint("large", 1, Spaced(0, 1_000))
    pool = pool_of(small, large)
    await pool.acquire(NOBODY, 500)
    waiter = asyncio.create_task(pool.acquire(set(), 500))
    await asyncio.sleep(1_000)
    assert not waiter.done()
    pool.release(large)
    assert await waiter is large
