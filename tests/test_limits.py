"""Requests and tokens a minute: never more in any minute that one looks at, and hardly less.

The time is virtual. `Line` waits and takes as the queue of a pool does, first come first served.
"""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import accumulate
from typing import Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmscale.limits import Bucket, Limits

Grants = list[tuple[float, float]]  # when, in seconds, and how much
TICK_S = 1e-6  # of the virtual clock


def now_s() -> float:
    return asyncio.get_running_loop().time()


def virtually(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end on a clock of its own, as Hypothesis needs for each example."""
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(play())


class Line:
    """Takes one amount after the other out of a bucket, and remembers when."""

    def __init__(self, bucket: Bucket, poll_s: float | None = None) -> None:
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


def most_in_a_minute(grants: Grants) -> float:
    """Return the most that any 60 s hold, both of their ends included."""
    sums = [0.0, *accumulate(amount for _, amount in grants)]
    first, most = 0, 0.0
    for last, (at_s, _) in enumerate(grants):
        while grants[first][0] < at_s - 60:
            first += 1
        most = max(most, sums[last + 1] - sums[first])
    return most


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
        line = Line(Bucket(limit, 1.0), poll_s)
        for gap_s, patience_s in arrivals:
            await asyncio.sleep(gap_s)
            await line.take(1, patience_s)
        assert most_in_a_minute(line.grants) <= limit

    virtually(play)


def tokens_of_any_minute(
    limit: int, arrivals: list[tuple[float, float, float]], poll_s: Any
) -> None:
    async def play() -> None:
        line = Line(Bucket(limit), poll_s)
        for gap_s, share, patience_s in arrivals:
            await asyncio.sleep(gap_s)
            await line.take(share * limit, patience_s)
        assert most_in_a_minute(line.grants) <= limit * (1 + 1e-6)

    virtually(play)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_requests_are_never_above_the_limit_in_any_minute(examples: int) -> None:
    arrivals = st.lists(st.tuples(GAPS_S, PATIENCE_S), max_size=100)
    search = given(LIMITS, arrivals, POLLS_S)(requests_of_any_minute)
    settings(max_examples=examples)(search)()


@pytest.mark.parametrize("largest", [0.05, 1.0], ids=["up to 5 %", "up to all"])
@pytest.mark.parametrize("examples", EXAMPLES)
def test_tokens_are_never_above_the_limit_in_any_minute(examples: int, largest: float) -> None:
    share = st.one_of(st.floats(0, 0.01), st.floats(0, largest), st.just(largest))
    arrivals = st.lists(st.tuples(GAPS_S, share, PATIENCE_S), max_size=60)
    search = given(st.sampled_from([100, 90_000]), arrivals, POLLS_S)(tokens_of_any_minute)
    settings(max_examples=examples)(search)()


@pytest.mark.looptime
async def test_a_large_amount_behind_a_full_minute_of_small_ones_keeps_within_the_limit() -> None:
    line = Line(Bucket(100_000))
    await line.take_until(60, [500])
    await line.take(5_000)
    await line.take_until(200, [500])
    assert 98_000 < most_in_a_minute(line.grants) <= 100_000


@pytest.mark.looptime
@pytest.mark.parametrize("limit", [10, 60, 100, 500])
async def test_who_is_always_hungry_gets_all_requests_but_two_percent(limit: int) -> None:
    line = Line(Bucket(limit, 1.0))
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
    line = Line(Bucket(100_000))
    await line.take_until(180, [share * 100_000 for share in shares])
    assert line.granted >= least * 300_000
    assert most_in_a_minute(line.grants) <= 100_000


@pytest.mark.looptime
async def test_one_large_amount_slows_the_minute_after_it_and_no_other() -> None:
    bucket = Bucket(100_000)
    await Line(bucket).take(50_000)
    after, later = Line(bucket), Line(bucket)
    await after.take_until(60, [500])
    await later.take_until(120, [500])
    assert after.granted == pytest.approx(50_000, abs=1_000)
    assert later.granted == pytest.approx(99_000, abs=1_000)


@pytest.mark.looptime
async def test_amounts_as_large_as_the_limit_go_out_one_a_minute_and_not_faster() -> None:
    line = Line(Bucket(100))
    for _ in range(4):
        await line.take(100)
    assert [at_s for at_s, _ in line.grants[:2]] == pytest.approx([0, 120], abs=1)
    assert most_in_a_minute(line.grants) == 100


@pytest.mark.looptime
async def test_an_amount_above_the_burst_waits_for_what_it_lacks() -> None:
    bucket = Bucket(60_000)  # drains 990 a second, 600 at once
    line = Line(bucket)
    await line.take_until(30, [600])
    began_s = now_s()
    await line.take(3_000)
    assert now_s() - began_s == pytest.approx(3_000 / 990, abs=0.7)


@pytest.mark.looptime
async def test_an_amount_above_the_limit_waits_for_ever() -> None:
    assert Bucket(100).wait_s(100.1) == float("inf")
    assert Bucket(0.5, 1.0).wait_s(1) == 0


@pytest.mark.looptime
async def test_no_more_than_the_burst_goes_out_at_once() -> None:
    requests, tokens = Bucket(500, 1.0), Bucket(100_000)
    for bucket, amount, expected in ((requests, 1, 5), (tokens, 100, 10)):
        await asyncio.sleep(1_000)  # however long nothing was taken
        taken = 0
        while not bucket.wait_s(amount):
            bucket.take(amount)
            taken += 1
        assert taken == expected


@pytest.mark.looptime
async def test_after_the_wait_that_is_named_the_amount_is_there_and_not_before() -> None:
    bucket = Bucket(600, 1.0)
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

    async def ask(bucket: Bucket) -> None:
        for after_s, amount in questions:
            await asyncio.sleep(after_s)
            bucket.wait_s(amount)

    async def play() -> None:
        for asks in (False, True):
            bucket, began_s = Bucket(limit), now_s()
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
    line = Line(Bucket(600, 1.0), poll_s)
    while now_s() < 20:
        await line.take(1)
    assert line.granted == pytest.approx(6 + 595 / 60 * 20, abs=2)


@pytest.mark.looptime
async def test_unused_tokens_are_given_back() -> None:
    limits = Limits(None, 60_000)
    for _ in range(6):
        limits.take(100)
    assert limits.wait_s(500) == pytest.approx(500 / 990)
    limits.correct(taken=600, used=200)
    assert limits.wait_s(400) == 0
    assert limits.wait_s(500) == pytest.approx(100 / 990)


@pytest.mark.looptime
async def test_tokens_over_the_estimate_are_taken_too() -> None:
    limits = Limits(None, 60_000)
    limits.take(600)
    limits.correct(taken=600, used=1_590)
    assert limits.wait_s(1) == pytest.approx(991 / 990)


@pytest.mark.looptime
async def test_what_is_given_back_is_no_more_than_the_burst_for_small_amounts() -> None:
    limits = Limits(None, 60_000)
    limits.take(600)
    limits.correct(taken=50_000, used=0)
    taken = 0
    while not limits.wait_s(100):
        limits.take(100)
        taken += 100
    assert taken == 600


@pytest.mark.looptime
async def test_an_exact_estimate_corrects_nothing() -> None:
    limits = Limits(10, 60_000)
    limits.take(300)
    before_s = limits.wait_s(600)
    limits.correct(taken=300, used=300)
    assert limits.wait_s(600) == before_s > 0


@pytest.mark.looptime
async def test_a_call_waits_for_the_slower_of_both_limits() -> None:
    limits = Limits(60, 60_000)  # a request a second; 990 tokens a second
    limits.take(0)
    assert limits.wait_s(0) == pytest.approx(1, abs=1e-3)
    for _ in range(4):
        limits.take(600)
    assert limits.wait_s(0) == pytest.approx(5, abs=1e-3)
    assert limits.wait_s(6_000) == pytest.approx(7_800 / 990, abs=1e-3)


@pytest.mark.looptime
async def test_a_limit_that_is_not_set_lets_everything_out() -> None:
    requests_only = Limits(60, None)
    assert requests_only.wait_s(10**9) == 0
    requests_only.correct(taken=10, used=10**9)
    tokens_only = Limits(None, 1_000)
    for _ in range(10_000):
        assert tokens_only.wait_s(0) == 0
        tokens_only.take(0)


@pytest.mark.parametrize(
    ("tokens_per_min", "most"), [(None, None), (200_000, 200_000), (0.5, 0.5)], ids=str
)
def test_the_most_tokens_of_a_call_are_those_of_a_minute(
    tokens_per_min: float | None, most: float | None
) -> None:
    assert Limits(10, tokens_per_min).most_tokens == most
