"""The pace that refusals teach: just below what an endpoint lets in, and never a standstill."""

import math
from collections import deque
from itertools import pairwise
from typing import NamedTuple, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.engine.balance.adaptive_rate import KEPT, AdaptiveRate


def calls(rate: AdaptiveRate, per_s: float, seconds: float, from_s: float = 0.0) -> float:
    """Let calls begin evenly, and be let in; return when the last one began."""
    for number in range(int(per_s * seconds)):
        rate.start(from_s + number / per_s)
    return from_s + seconds


def refused_at(per_s: float, seconds: float = 60.0) -> tuple[AdaptiveRate, float]:
    """Return a rate that was refused once after so many calls a second, and when."""
    rate = AdaptiveRate()
    end_s = calls(rate, per_s, seconds)
    rate.start(end_s)
    assert rate.refused(end_s, end_s + 0.01)
    return rate, end_s + 0.01


def begun(rate: AdaptiveRate, from_s: float, until_s: float) -> list[float]:
    """Begin a call whenever one may; return when."""
    began_s = []
    now_s = from_s + rate.wait_s(from_s)
    while now_s < until_s:
        rate.start(now_s)
        began_s.append(now_s)
        now_s += rate.wait_s(now_s)
    return began_s


def test_nothing_is_paced_before_the_first_refusal() -> None:
    rate = AdaptiveRate()
    for number in range(10_000):
        assert rate.wait_s(number / 1_000) == 0
        rate.start(number / 1_000)
    assert not rate.is_known
    assert rate.per_s(10) == math.inf


@pytest.mark.parametrize("per_s", [0.5, 5, 40, 1_000])
def test_after_a_refusal_the_pace_is_just_below_what_was_let_in(per_s: float) -> None:
    rate, at_s = refused_at(per_s)
    assert rate.is_known
    assert rate.per_s(at_s) == pytest.approx(per_s, rel=0.05)
    assert rate.per_s(at_s) == pytest.approx(KEPT * rate.peak_per_s)
    began_s = begun(rate, at_s, at_s + 10)
    assert len(began_s) == pytest.approx(10 * rate.per_s(at_s), rel=0.03, abs=2)


def test_what_was_let_in_longer_than_a_minute_ago_does_not_count() -> None:
    rate = AdaptiveRate()
    end_s = calls(rate, 100, 30)
    end_s = calls(rate, 5, 120, from_s=end_s)
    rate.start(end_s)
    rate.refused(end_s, end_s)
    assert rate.per_s(end_s) == pytest.approx(5, rel=0.05)


def test_refusals_of_calls_sent_before_the_last_cut_are_one() -> None:
    rate = AdaptiveRate()
    end_s = calls(rate, 20, 60)
    for _ in range(64):
        rate.start(end_s)
    assert rate.refused(end_s, end_s + 1)
    learned = rate.peak_per_s
    for number in range(63):
        assert not rate.refused(end_s, end_s + 1 + number / 100)
    assert rate.peak_per_s == learned
    rate.start(end_s + 2)
    assert rate.refused(end_s + 2, end_s + 3)


def test_it_is_back_where_it_was_after_twenty_seconds_and_faster_from_then_on() -> None:
    rate, at_s = refused_at(10)
    paces = [rate.per_s(at_s + seconds) for seconds in (0, 10, 20, 30, 40, 60, 100)]
    assert paces[2] == pytest.approx(rate.peak_per_s)
    assert paces == sorted(paces)
    grown = [after - before for before, after in pairwise(paces[2:])]
    assert grown == sorted(grown)
    assert paces[3] < 1.01 * rate.peak_per_s, "it stays there for a while"
    assert paces[6] > 2 * rate.peak_per_s


def test_a_late_timer_is_made_up_for_by_one_call_at_most() -> None:
    rate, at_s = refused_at(10)
    gap_s = 1 / rate.per_s(at_s)
    late_s = at_s + 1  # nine calls could have begun
    assert rate.wait_s(late_s) == 0
    rate.start(late_s)
    assert rate.wait_s(late_s) == 0, "the one that is made up for"
    rate.start(late_s)
    assert rate.wait_s(late_s) == pytest.approx(gap_s, rel=0.05)


def test_timers_that_are_all_a_little_late_lose_nothing() -> None:
    rate, now_s = refused_at(10)
    end_s, count = now_s + 10, 0
    while now_s < end_s:
        rate.start(now_s)
        count += 1
        now_s += rate.wait_s(now_s) + 0.03
    assert count >= 0.97 * 10 * 10 * KEPT


def test_a_refusal_where_nothing_was_let_in_teaches_nothing() -> None:
    """Another process has used up the limit: that says nothing of how much it is."""
    rate = AdaptiveRate()
    for _ in range(2):
        rate.start(0)
    assert rate.refused(0, 0.01), "the other one may yet be let in"
    unknown = AdaptiveRate()
    unknown.start(0)
    assert not unknown.refused(0, 0.01)
    assert not unknown.is_known
    assert unknown.wait_s(0.01) == 0


def test_after_a_long_rest_one_refusal_takes_no_more_than_half_of_the_pace() -> None:
    rate, at_s = refused_at(10)
    peak = rate.peak_per_s
    again_s = at_s + 90
    rate.start(again_s)
    rate.refused(again_s, again_s + 0.1)
    assert rate.peak_per_s >= peak / 2


def test_however_often_it_is_refused_the_pace_is_never_zero() -> None:
    rate, at_s = refused_at(10)
    for _ in range(1_000):
        at_s += rate.wait_s(at_s)
        rate.start(at_s)
        rate.refused(at_s, at_s)
        assert rate.per_s(at_s) > 0
        assert rate.wait_s(at_s) <= 65


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "start", "refused", "wait"]),
        st.floats(0, 1e5) | st.floats(0, 1) | st.just(0.0),
        st.floats(0, 100),
    ),
    max_size=200,
)


@given(EVENTS)
def test_whatever_comes_the_pace_is_finite_and_positive(
    events: list[tuple[str, float, float]],
) -> None:
    rate, now_s = AdaptiveRate(), 0.0
    for what, later_s, before_s in events:
        if what == "start":
            rate.start(now_s)
        elif what == "refused":
            rate.refused(now_s - before_s, now_s)
        else:
            now_s += later_s
        assert rate.per_s(now_s) > 0
        assert math.isfinite(rate.per_s(now_s)) == rate.is_known
        assert 0 <= rate.wait_s(now_s) < math.inf


class Server(Protocol):
    """What lets calls in, or refuses them and says for how long to leave it alone."""

    def refuses_for_s(self, now_s: float) -> float:
        """Take a call in: 0; or say how long to wait."""


class TokenBucket:
    """Refills all the time, and holds one second's worth, or a minute's."""

    def __init__(self, per_s: float, holds_s: float) -> None:
        self._per_s = per_s
        self._most = max(per_s * holds_s, 1.0)
        self._left = self._most
        self._seen_s = 0.0

    def refuses_for_s(self, now_s: float) -> float:
        self._left = min(self._left + (now_s - self._seen_s) * self._per_s, self._most)
        self._seen_s = now_s
        if self._left < 1 - 1e-9:
            return (1 - self._left) / self._per_s
        self._left -= 1
        return 0.0


class SlidingWindow:
    """Lets in so many in any minute."""

    def __init__(self, per_s: float) -> None:
        self._most = int(per_s * 60)
        self._let_in_s: deque[float] = deque()

    def refuses_for_s(self, now_s: float) -> float:
        while self._let_in_s and self._let_in_s[0] <= now_s - 60:
            self._let_in_s.popleft()
        if len(self._let_in_s) >= self._most:
            return self._let_in_s[0] + 60 - now_s
        self._let_in_s.append(now_s)
        return 0.0


class Shares(NamedTuple):
    """How a hungry client has fared."""

    of_limit: float
    refused: float


def hungry(server: Server, per_s: float, from_s: float, until_s: float) -> Shares:
    """Ask whenever pace and rest allow; a refusal takes 10 ms. Judge the time from `from_s` on."""
    rate = AdaptiveRate()
    now_s, rested_s = 0.0, 0.0
    let_in = refused = 0
    while now_s < until_s:
        now_s = max(now_s + rate.wait_s(now_s), rested_s, now_s + 1e-3)
        rate.start(now_s)
        cooldown_s = server.refuses_for_s(now_s)
        if now_s >= from_s:
            let_in += not cooldown_s
            refused += bool(cooldown_s)
        if cooldown_s:
            rate.refused(now_s, now_s + 0.01)
            rested_s = now_s + cooldown_s
    return Shares(let_in / per_s / (until_s - from_s), refused / max(let_in + refused, 1))


@pytest.mark.parametrize("per_s", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("holds_s", [1.0, 60.0])
def test_a_bucket_of_tokens_is_used_up_and_hardly_ever_overdrawn(
    per_s: float, holds_s: float
) -> None:
    shares = hungry(TokenBucket(per_s, holds_s), per_s, from_s=20 + 2 * holds_s, until_s=600)
    assert shares.of_limit >= 0.95
    assert shares.refused <= 0.02


def test_where_calls_are_few_it_takes_its_time() -> None:
    for per_s, back_s in ((10, 20), (2, 40), (0.5, 80)):
        rate, at_s = refused_at(per_s)
        assert rate.per_s(at_s + back_s) == pytest.approx(rate.peak_per_s, rel=0.002)
        assert rate.per_s(at_s + back_s / 4) < 0.99 * rate.peak_per_s


@pytest.mark.parametrize("per_s", [1.0, 10.0, 50.0])
def test_a_sliding_window_is_used_up_and_hardly_ever_overdrawn(per_s: float) -> None:
    shares = hungry(SlidingWindow(per_s), per_s, from_s=180, until_s=900)
    assert shares.of_limit >= 0.95
    assert shares.refused <= 0.02
