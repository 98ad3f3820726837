"""Requests and tokens a minute: never more in any minute that one looks at, and hardly less.

The time is virtual. `Line` waits and takes as the queue of a pool does, first come first served.
"""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.prices import Prices
from llmscale.core.records import Quota
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.strategies import strategy
from llmscale.engine.limits import DAY_S, DayCap, RateLimits, TokenBucket
from tests.engine.balance import Unasked
from tests.reliability.figures import Shows
from tests.reliability.searching import searched
from tests.virtual_time import most_in_a_minute, now_s, virtually

Grants = list[tuple[float, float]]  # when, in seconds, and how much
TICK_S = 1e-6  # of the virtual clock


class Line:
    """Takes one amount after the other out of a bucket, and remembers when."""

    def __init__(self, bucket: TokenBucket, poll_s: float | None = None) -> None:
        self._bucket = bucket
        self._poll_s = poll_s  # None: wait as long as the bucket says
        self.grants: Grants = []

    async def take(self, amount: float, patience_s: float = float("inf")) -> None:
        """Wait for an amount and take it, or lose patience."""
        deadline_s = now_s() + patience_s
        while wait_s := self._bucket.wait_s(amount):
            if now_s() + wait_s > deadline_s:
                return
            await asyncio.sleep(wait_s if self._poll_s is None else self._poll_s)
        self._bucket.take(amount)
        self.grants.append((now_s(), amount))

    async def take_until(self, end_s: float, amounts: list[float]) -> None:
        """Be hungry for those amounts, over and over."""
        number = 0
        while now_s() + self._bucket.wait_s(amounts[number % len(amounts)]) < end_s:
            await self.take(amounts[number % len(amounts)])
            number += 1

    @property
    def granted(self) -> float:
        return sum(amount for _, amount in self.grants)


def test_the_sum_of_the_worst_minute_is_the_one_that_is_found() -> None:
    assert most_in_a_minute([(0, 1), (60, 2), (61, 4), (200, 3)]) == 6


LIMITS = st.sampled_from([1, 2, 3, 7, 10, 60, 61, 100, 500, 3_000])
GAPS_S = st.one_of(st.just(0.0), st.floats(0, 5), st.floats(0, 100))
PATIENCE_S = st.sampled_from([0.0, 1.0, 10.0, float("inf"), float("inf")])
POLLS_S = st.sampled_from([None, None, 1.7, 11.0])
EXAMPLES = [
    pytest.param(150, id="some"),
    pytest.param(10_000, id="many", marks=pytest.mark.campaign),
]


def requests_of_any_minute(limit: int, arrivals: list[tuple[float, float]], poll_s: Any) -> None:
    async def play() -> None:
        line = Line(TokenBucket(limit, 1.0), poll_s)
        for gap_s, patience_s in arrivals:
            await asyncio.sleep(gap_s)
            await line.take(1, patience_s)
        assert most_in_a_minute(line.grants) <= limit

    virtually(play)


def tokens_of_any_minute(
    limit: int, arrivals: list[tuple[float, float, float]], poll_s: Any
) -> None:
    async def play() -> None:
        line = Line(TokenBucket(limit), poll_s)
        for gap_s, share, patience_s in arrivals:
            await asyncio.sleep(gap_s)
            await line.take(share * limit, patience_s)
        assert most_in_a_minute(line.grants) <= limit * (1 + 1e-6)

    virtually(play)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_requests_are_never_above_the_limit_in_any_minute(examples: int, shows: Shows) -> None:
    arrivals = st.lists(st.tuples(GAPS_S, PATIENCE_S), max_size=100)
    args = (LIMITS, arrivals, POLLS_S)
    shows(searched("K02", "requests of any minute", examples, requests_of_any_minute, *args))


@pytest.mark.parametrize("largest", [0.05, 1.0], ids=["up to 5 %", "up to all"])
@pytest.mark.parametrize("examples", EXAMPLES)
def test_tokens_are_never_above_the_limit_in_any_minute(
    examples: int, largest: float, shows: Shows
) -> None:
    share = st.one_of(st.floats(0, 0.01), st.floats(0, largest), st.just(largest))
    arrivals = st.lists(st.tuples(GAPS_S, share, PATIENCE_S), max_size=60)
    args = (st.sampled_from([100, 90_000]), arrivals, POLLS_S)
    what = f"tokens of any minute, up to {largest:.0%}"
    shows(searched("K02", what, examples, tokens_of_any_minute, *args))


@pytest.mark.looptime
async def test_a_large_amount_behind_a_full_minute_of_small_ones_keeps_within_the_limit() -> None:
    line = Line(TokenBucket(100_000))
    await line.take_until(60, [500])
    await line.take(5_000)
    await line.take_until(200, [500])
    assert 98_000 < most_in_a_minute(line.grants) <= 100_000


@pytest.mark.looptime
@pytest.mark.parametrize("limit", [10, 60, 100, 500])
async def test_who_is_always_hungry_gets_all_requests_but_two_percent(limit: int) -> None:
    line = Line(TokenBucket(limit, 1.0))
    await line.take_until(180, [1])
    assert line.granted >= 0.98 * 3 * limit
    assert most_in_a_minute(line.grants) <= limit


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("shares", "least"),
    [
        ([0.002], 0.99),
        ([0.01], 0.98),
        ([0.002, 0.001, 0.009], 0.98),
        ([0.02], 0.98),
        ([0.05], 0.95),  # room for a window that begins with one: it drains 95 % a minute
        ([0.05, 0.002, 0.002, 0.002], 0.94),
    ],
    ids=str,
)
async def test_who_is_always_hungry_gets_nearly_all_tokens(
    shares: list[float], least: float
) -> None:
    line = Line(TokenBucket(100_000))
    await line.take_until(180, [share * 100_000 for share in shares])
    assert line.granted >= least * 300_000
    assert most_in_a_minute(line.grants) <= 100_000


@pytest.mark.looptime
async def test_one_large_amount_slows_the_minute_after_it_and_no_other() -> None:
    bucket = TokenBucket(100_000)
    await Line(bucket).take(50_000)
    after, later = Line(bucket), Line(bucket)
    await after.take_until(60, [500])
    await later.take_until(120, [500])
    assert after.granted == pytest.approx(50_000, abs=1_000)
    assert later.granted == pytest.approx(99_000, abs=1_000)


@pytest.mark.looptime
async def test_amounts_as_large_as_the_limit_go_out_one_a_minute_and_not_faster() -> None:
    line = Line(TokenBucket(100))
    for _ in range(4):
        await line.take(100)
    assert [at_s for at_s, _ in line.grants[:2]] == pytest.approx([0, 120], abs=1)
    assert most_in_a_minute(line.grants) == 100


@pytest.mark.looptime
async def test_an_amount_above_the_burst_waits_for_what_it_lacks() -> None:
    bucket = TokenBucket(60_000)  # drains 990 a second, 600 at once
    line = Line(bucket)
    await line.take_until(30, [600])
    began_s = now_s()
    await line.take(3_000)
    assert now_s() - began_s == pytest.approx(3_000 / 990, abs=0.7)


@pytest.mark.looptime
async def test_an_amount_above_the_limit_waits_for_ever() -> None:
    assert TokenBucket(100).wait_s(100.1) == float("inf")
    assert TokenBucket(0.5, 1.0).wait_s(1) == 0


@pytest.mark.looptime
async def test_no_more_than_the_burst_goes_out_at_once() -> None:
    requests, tokens = TokenBucket(500, 1.0), TokenBucket(100_000)
    for bucket, amount, expected in ((requests, 1, 5), (tokens, 100, 10)):
        await asyncio.sleep(1_000)  # however long nothing was taken
        taken = 0
        while not bucket.wait_s(amount):
            bucket.take(amount)
            taken += 1
        assert taken == expected


@pytest.mark.looptime
async def test_after_the_wait_that_is_named_the_amount_is_there_and_not_before() -> None:
    bucket = TokenBucket(600, 1.0)
    for _ in range(100):
        while wait_s := bucket.wait_s(1):
            await asyncio.sleep(wait_s - 2 * TICK_S)
            assert bucket.wait_s(1) > 0
            await asyncio.sleep(3 * TICK_S)
            assert bucket.wait_s(1) == 0
        bucket.take(1)


def asking_changes_nothing(
    amounts: list[float], questions: list[tuple[float, float]], limit: int
) -> None:
    asked: list[Grants] = []

    async def ask(bucket: TokenBucket) -> None:
        for after_s, amount in questions:
            await asyncio.sleep(after_s)
            bucket.wait_s(amount)

    async def play() -> None:
        for asks in (False, True):
            bucket, began_s = TokenBucket(limit), now_s()
            asking = asyncio.create_task(ask(bucket)) if asks else None
            line = Line(bucket)
            for amount in amounts:
                await line.take(amount)
            asked.append([(at_s - began_s, amount) for at_s, amount in line.grants])
            if asking:
                await asking

    virtually(play)
    for undisturbed, disturbed in zip(*asked, strict=True):
        assert disturbed == pytest.approx(undisturbed, abs=1e-4)


AMOUNT = st.one_of(st.floats(1, 10), st.floats(1, 1_000))


@given(
    st.lists(AMOUNT, max_size=40),
    st.lists(st.tuples(st.floats(0.001, 5), st.floats(0, 2_000)), max_size=100),
)
def test_how_often_and_for_what_a_bucket_is_asked_changes_no_grant(
    amounts: list[float], questions: list[tuple[float, float]]
) -> None:
    asking_changes_nothing(amounts, questions, limit=1_000)


@pytest.mark.looptime
@pytest.mark.parametrize("poll_s", [0.005, 0.01, 0.1])
async def test_polled_two_hundred_times_a_second_it_grants_what_it_grants_else(
    poll_s: float,
) -> None:
    """The trap of integer refill: polled often, it granted nothing."""
    line = Line(TokenBucket(600, 1.0), poll_s)
    while now_s() < 20:
        await line.take(1)
    assert line.granted == pytest.approx(6 + 595 / 60 * 20, abs=2)


@pytest.mark.looptime
async def test_unused_tokens_are_given_back() -> None:
    limits = RateLimits(None, 60_000)
    for _ in range(6):
        limits.reserve(100)
    assert limits.wait_s(500) == pytest.approx(500 / 990)
    limits.reconcile(reserved=600, used=200)
    assert limits.wait_s(400) == 0
    assert limits.wait_s(500) == pytest.approx(100 / 990)


@pytest.mark.looptime
async def test_tokens_over_the_estimate_are_taken_too() -> None:
    limits = RateLimits(None, 60_000)
    limits.reserve(600)
    limits.reconcile(reserved=600, used=1_590)
    assert limits.wait_s(1) == pytest.approx(991 / 990)


@pytest.mark.looptime
async def test_what_is_given_back_is_no_more_than_the_burst_for_small_amounts() -> None:
    limits = RateLimits(None, 60_000)
    limits.reserve(600)
    limits.reconcile(reserved=50_000, used=0)
    taken = 0
    while not limits.wait_s(100):
        limits.reserve(100)
        taken += 100
    assert taken == 600


@pytest.mark.looptime
async def test_an_exact_estimate_corrects_nothing() -> None:
    limits = RateLimits(10, 60_000)
    limits.reserve(300)
    before_s = limits.wait_s(600)
    limits.reconcile(reserved=300, used=300)
    assert limits.wait_s(600) == before_s > 0


@pytest.mark.looptime
async def test_a_call_waits_for_the_slower_of_both_limits() -> None:
    limits = RateLimits(60, 60_000)  # a request a second; 990 tokens a second
    limits.reserve(0)
    assert limits.wait_s(0) == pytest.approx(1, abs=1e-3)
    for _ in range(4):
        limits.reserve(600)
    assert limits.wait_s(0) == pytest.approx(5, abs=1e-3)
    assert limits.wait_s(6_000) == pytest.approx(7_800 / 990, abs=1e-3)


@pytest.mark.looptime
async def test_a_limit_that_is_not_set_lets_everything_out() -> None:
    requests_only = RateLimits(60, None)
    assert requests_only.wait_s(10**9) == 0
    requests_only.reconcile(reserved=10, used=10**9)
    tokens_only = RateLimits(None, 1_000)
    for _ in range(10_000):
        assert tokens_only.wait_s(0) == 0
        tokens_only.reserve(0)


@pytest.mark.parametrize(
    ("tokens_per_min", "most"), [(None, None), (200_000, 200_000), (0.5, 0.5)], ids=str
)
def test_the_most_tokens_of_a_call_are_those_of_a_minute(
    tokens_per_min: float | None, most: float | None
) -> None:
    assert RateLimits(10, tokens_per_min).max_call_tokens == most


@pytest.mark.looptime
async def test_an_explicit_burst_goes_out_at_once_and_the_limit_beside_it() -> None:
    line = Line(TokenBucket(600, 1.0, burst_share=50 / 600))
    await line.take_until(1, [1])
    assert line.granted == pytest.approx(50 + 10, abs=1)
    await line.take_until(180, [1])
    assert line.granted == pytest.approx(50 + 3 * 600, abs=2)
    assert most_in_a_minute(line.grants) <= 600 + 50


@pytest.mark.looptime
async def test_the_tokens_have_the_share_of_the_burst_that_the_requests_have() -> None:
    limits = RateLimits(600, 60_000, burst=60)
    taken = 0
    while not limits.wait_s(1_000):
        limits.reserve(1_000)
        taken += 1
    assert taken == 6, "a tenth of a minute's tokens"


def burst_of_any_minute(
    limit: int, share: float, arrivals: list[tuple[float, float]], poll_s: Any
) -> None:
    async def play() -> None:
        line = Line(TokenBucket(limit, 1.0, share), poll_s)
        for gap_s, patience_s in arrivals:
            await asyncio.sleep(gap_s)
            await line.take(1, patience_s)
        assert most_in_a_minute(line.grants) <= limit + max(1, limit * share)

    virtually(play)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_with_a_burst_no_minute_has_more_than_the_limit_and_the_burst(
    examples: int, shows: Shows
) -> None:
    arrivals = st.lists(st.tuples(GAPS_S, PATIENCE_S), max_size=100)
    args = (LIMITS, st.floats(0.01, 1.0), arrivals, POLLS_S)
    shows(searched("K02", "requests with a burst", examples, burst_of_any_minute, *args))


class Waiters:
    """Calls that wait in the queue of a pool for one endpoint with these limits."""

    def __init__(self, limits: RateLimits) -> None:
        endpoint = Endpoint("a", Unasked(), Slots(10**6), Prices(is_listed=False), limits)
        self.pool = Pool([endpoint], strategy("least-loaded", "sim/m", random.Random(0)))
        self.granted: list[tuple[float, int, int]] = []  # when, which arrival, tokens
        self.tasks: list[asyncio.Task[None]] = []

    def arrive(self, tokens: int) -> None:
        self.tasks.append(asyncio.create_task(self._call(len(self.tasks), tokens)))

    async def _call(self, number: int, tokens: int) -> None:
        await self.pool.acquire(set(), tokens)
        self.granted.append((now_s(), number, tokens))


ARRIVALS = st.lists(
    st.tuples(GAPS_S, st.integers(0, 1_000), st.sampled_from(["stay", "stay", "stay", "leave"])),
    max_size=40,
)


def fair_and_within_limits(
    requests: int, tokens: int, arrivals: list[tuple[float, int, str]]
) -> None:
    async def play() -> None:
        waiters = Waiters(RateLimits(requests, tokens))
        for gap_s, size, what in arrivals:
            waiters.arrive(size)
            await asyncio.sleep(gap_s)
            if what == "leave":
                waiters.tasks[len(waiters.tasks) // 2].cancel()
        await asyncio.gather(*waiters.tasks, return_exceptions=True)
        granted = waiters.granted
        # in one moment, who was handed a place and who finds one free go on in either order
        order = [number for _, number, _ in sorted(granted)]
        assert order == sorted(order), "first come first served"
        cancelled = sum(task.cancelled() for task in waiters.tasks)
        assert len(granted) == len(arrivals) - cancelled, "and nobody starves"
        assert most_in_a_minute([(at_s, 1) for at_s, _, _ in granted]) <= requests
        used = most_in_a_minute([(at_s, size) for at_s, _, size in granted])
        assert used <= tokens * (1 + 1e-6)

    virtually(play)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_whoever_comes_and_goes_no_minute_is_above_the_limits_and_nobody_starves(
    examples: int, shows: Shows
) -> None:
    """K02."""
    args = (LIMITS, st.sampled_from([1_000, 5_000, 90_000]), ARRIVALS)
    what = "both limits, FIFO, no starvation"
    shows(searched("K02", what, examples, fair_and_within_limits, *args))


def test_in_the_moment_in_which_one_gives_up_who_comes_and_who_waited_both_go_on() -> None:
    """K02: who waited is handed a place first, and goes on last."""
    left_by_the_second = [(0.0, 500, "stay"), (0.0, 600, "stay"), (0.0, 0, "leave")]
    fair_and_within_limits(3_000, 1_000, [*left_by_the_second, (0.0, 0, "stay")])


class WallClock:
    """A clock that is set by hand: seconds since 1970."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


NOON = DAY_S * 20_000 + DAY_S / 2


def test_a_day_cap_lets_out_its_amount_and_then_nothing_until_midnight_utc() -> None:
    clock = WallClock(NOON)
    cap = DayCap(3, clock)
    for _ in range(3):
        assert cap.wait_s(1) == 0
        cap.take(1)
    assert cap.wait_s(1) == DAY_S / 2
    clock.at += DAY_S / 2 - 1
    assert cap.wait_s(1) == 1
    clock.at += 1
    assert cap.wait_s(1) == 0


def test_a_day_cap_that_is_reached_is_said_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    clock = WallClock(NOON)
    cap = DayCap(1, clock)
    for day in (1, 2):
        cap.take(1)
        assert all(cap.wait_s(1) for _ in range(3))
        assert len(caplog.records) == day
        clock.at += DAY_S
    assert "the daily limit of 1 is used up; waiting 12.0 h for the next day" in caplog.text


def test_a_day_cap_counts_no_day_twice_where_the_clock_is_set_back() -> None:
    clock = WallClock(NOON)
    cap = DayCap(2, clock)
    for _ in range(2):
        assert cap.wait_s(1) == 0
        cap.take(1)
    clock.at -= DAY_S
    assert cap.wait_s(1) > 0
    clock.at += DAY_S
    assert cap.wait_s(1) == DAY_S / 2
    clock.at += DAY_S
    assert cap.wait_s(1) == 0


def test_an_amount_above_the_day_waits_for_ever() -> None:
    assert DayCap(100, WallClock(NOON)).wait_s(100.5) == float("inf")
    assert RateLimits(None, None, tokens_per_day=100).max_call_tokens == 100
    assert RateLimits(None, 50, tokens_per_day=100).max_call_tokens == 50


def test_what_is_given_back_over_midnight_is_no_more_than_the_day_has() -> None:
    clock = WallClock(NOON)
    cap = DayCap(100, clock)
    assert cap.wait_s(90) == 0
    cap.take(90)
    clock.at += DAY_S
    assert cap.wait_s(10) == 0
    cap.take(-80)
    assert cap.wait_s(100) == 0
    cap.take(100)
    assert cap.wait_s(1) > 0


STEPS_S = st.sampled_from([0.0, 1.0, 3_600.0, DAY_S / 2, DAY_S, -1.0, -3_600.0, -DAY_S])


@given(st.lists(st.tuples(STEPS_S, st.integers(0, 6)), max_size=60))
def test_however_the_clock_steps_no_day_has_more_than_its_cap(
    steps: list[tuple[float, int]],
) -> None:
    """K02: a day that has begun is not begun again."""
    clock = WallClock(NOON)
    cap = DayCap(10, clock)
    latest, used = -1, 0.0
    for step_s, amount in steps:
        clock.at += step_s
        if int(clock.at // DAY_S) > latest:
            latest, used = int(clock.at // DAY_S), 0.0
        if not cap.wait_s(amount):
            cap.take(amount)
            used += amount
        assert used <= 10


@pytest.mark.looptime
async def test_a_call_waits_for_the_cap_of_a_day_in_requests_and_in_tokens() -> None:
    limits = RateLimits(None, None, requests_per_day=2, tokens_per_day=1_000)
    limits.reserve(400)
    assert limits.wait_s(600) == 0
    assert limits.wait_s(601) > 0
    limits.reconcile(reserved=400, used=100)
    assert limits.wait_s(900) == 0
    limits.reserve(1)
    assert limits.wait_s(0) > 0, "both requests are used"


@pytest.mark.looptime
async def test_a_call_that_did_not_go_out_gives_back_all_that_it_took() -> None:
    limits = RateLimits(60, 60_000, requests_per_day=3, tokens_per_day=100_000)
    fresh = limits.wait_s(600)
    for _ in range(10):
        limits.reserve(600)
        limits.refund(600)
        assert limits.wait_s(600) == fresh == 0


@pytest.mark.looptime
async def test_a_lower_limit_that_the_provider_tells_is_adopted() -> None:
    limits = RateLimits(600, 100_000)
    told = limits.learn(Quota(requests_per_min=60, tokens_per_min=10_000))
    assert told == [
        "60 requests a minute, where 600 are set",
        "10000 tokens a minute, where 100000 are set",
    ]
    assert limits.max_call_tokens == 10_000
    limits.reserve(0)
    assert limits.wait_s(0) == pytest.approx(1, abs=1e-3)
    assert limits.summary() == {
        "rpm": 600,
        "tpm": 100_000,
        "provider_rpm": 60,
        "provider_tpm": 10_000,
    }


@pytest.mark.looptime
async def test_a_higher_limit_that_the_provider_tells_is_reported_and_not_adopted() -> None:
    limits = RateLimits(60, None)
    limits.reserve(0)
    before_s = limits.wait_s(0)
    assert limits.learn(Quota(requests_per_min=600)) == ["600 requests a minute, where 60 are set"]
    assert limits.wait_s(0) == before_s > 0, "and what was taken is not forgotten"
    assert limits.summary()["provider_rpm"] == 600


@pytest.mark.looptime
async def test_where_no_limit_is_set_the_one_that_is_told_is_adopted() -> None:
    limits = RateLimits(None, None)
    assert limits.max_call_tokens is None
    told = limits.learn(Quota(tokens_per_min=5_000))
    assert told == ["5000 tokens a minute, where none is set"]
    assert limits.max_call_tokens == 5_000
    for _ in range(100):
        limits.reserve(0)
    assert limits.wait_s(0) == 0, "requests have no limit still"


@pytest.mark.looptime
async def test_the_limit_that_was_set_is_nothing_new() -> None:
    limits = RateLimits(60, None, burst=10)
    assert limits.learn(Quota(requests_per_min=60)) == []
    for _ in range(10):
        assert limits.wait_s(0) == 0
        limits.reserve(0)


@pytest.mark.looptime
async def test_the_same_report_is_told_once_and_keeps_what_was_taken() -> None:
    limits = RateLimits(600, None)
    assert limits.learn(Quota(requests_per_min=60))
    limits.reserve(0)
    before_s = limits.wait_s(0)
    for _ in range(10):
        assert limits.learn(Quota(requests_per_min=60, tokens_per_min=None)) == []
    assert limits.wait_s(0) == before_s > 0


@pytest.mark.looptime
async def test_a_limit_that_was_lowered_is_raised_again_up_to_what_is_set() -> None:
    limits = RateLimits(600, None)
    for reported, expected in ((60, 60), (300, 300), (900, 600)):
        limits.learn(Quota(requests_per_min=reported))
        await asyncio.sleep(1_000)
        began_s = now_s()
        for _ in range(expected):
            await asyncio.sleep(limits.wait_s(0))
            limits.reserve(0)
        assert now_s() - began_s == pytest.approx(60, abs=2)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("limits", "taken", "tokens", "by"),
    [
        ({"requests_per_min": 60, "tokens_per_min": 6_000}, 60, 0, "rpm"),
        ({"requests_per_min": 60, "tokens_per_min": 6_000}, 3_000, 3_500, "tpm"),
        ({"requests_per_min": 60, "requests_per_day": 1}, 0, 0, "rpd"),
        ({"requests_per_min": 60, "tokens_per_day": 100}, 60, 50, "tpd"),
        ({"requests_per_day": 1, "tokens_per_min": 600}, 500, 600, "rpd"),
    ],
)
async def test_the_limit_is_named_that_a_call_waits_for_longest(
    limits: dict[str, float], taken: int, tokens: int, by: str
) -> None:
    both = {"requests_per_min": None, "tokens_per_min": None, **limits}
    of_it: Any = both
    one = RateLimits(**of_it)
    one.reserve(taken)
    held_by, wait_s = one.binding_limit(tokens)
    assert held_by == by
    assert wait_s == pytest.approx(one.wait_s(tokens), abs=1)
    assert wait_s > 0


@pytest.mark.looptime
async def test_a_limit_is_the_providers_where_it_tells_no_more_than_is_set() -> None:
    for set_rpm, provider_rpm, by in (
        (60, 30, "provider_rpm"),
        (60, 60, "provider_rpm"),
        (60, 90, "rpm"),
    ):
        one = RateLimits(set_rpm, None)
        one.learn(Quota(requests_per_min=provider_rpm))
        one.reserve(0)
        assert one.binding_limit(0)[0] == by
    one = RateLimits(None, 600)
    one.learn(Quota(tokens_per_min=300.0))
    one.reserve(200)
    assert one.binding_limit(200)[0] == "provider_tpm"


@pytest.mark.looptime
async def test_where_nothing_is_limited_nothing_is_waited_for() -> None:
    assert RateLimits(None, None).binding_limit(1_000)[1] == 0


@pytest.mark.looptime
@pytest.mark.parametrize("rpm", [None, 600])
async def test_a_reported_limit_that_turns_out_to_be_none_is_dropped(rpm: float | None) -> None:
    limits = RateLimits(rpm, None)
    limits.learn(Quota(requests_per_min=6))
    limits.reserve(0)
    assert limits.wait_s(0) > 9
    assert limits.learn(Quota(requests_per_min=float("inf"))) == []
    assert limits.wait_s(0) < 0.2
    assert limits.summary()["provider_rpm"] is None
    assert limits.learn(Quota(requests_per_min=6)) != []
