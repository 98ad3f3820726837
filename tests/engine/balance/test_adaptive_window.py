"""How many calls are in flight: as many as are of use, found out by trying, and cut where too many.

The servers are simulated, call by call, and a client that always wants more fills the window.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.engine.balance.adaptive_window import CUT_BUSY, FIRST, SMALLEST, AdaptiveWindow

Work = Callable[[], tuple[float, int]]  # the seconds of a call alone, and its tokens


@dataclass
class Served:
    """What a simulated server has done."""

    answers: int = 0
    sizes: list[tuple[float, float]] = field(default_factory=list)  # at which time which size

    def size_at_end(self, share: float = 0.25) -> tuple[float, float]:
        """Return the smallest and the largest size of the last part of the time."""
        last = [size for _, size in self.sizes[-int(len(self.sizes) * share) :]]
        return min(last), max(last)


def serve(
    window: AdaptiveWindow | None,
    slots: int,
    work: Work,
    wanted: int,
    until_s: float,
    now_s: float = 0.0,
) -> Served:
    """Fill the window of a server that works on `slots` calls at once and queues the others."""
    served = Served()
    running: list[tuple[float, float, int]] = []  # when it ends, when it began, tokens
    queued: deque[float] = deque()  # when it began
    in_flight = 0

    def send() -> None:
        nonlocal in_flight
        while in_flight < wanted and (window is None or in_flight + 1 <= window.size):
            in_flight += 1
            queued.append(now_s)
        while queued and len(running) < slots:
            seconds, tokens = work()
            heapq.heappush(running, (now_s + seconds, queued.popleft(), tokens))

    send()
    while running and now_s < until_s:
        now_s, began_s, tokens = heapq.heappop(running)
        served.answers += 1
        if window is not None:
            window.answered(began_s, now_s, tokens, in_flight)
            served.sizes.append((now_s, window.size))
        in_flight -= 1
        send()
    return served


def alike(seconds: float, tokens: int = 100) -> Work:
    return lambda: (seconds, tokens)


def by_token(least: int, most: int, seed: int = 1) -> Work:
    """Return calls of so many tokens, each of 10 ms."""
    rng = random.Random(seed)

    def work() -> tuple[float, int]:
        tokens = rng.randint(least, most)
        return tokens * 0.01, tokens

    return work


def uneven(seed: int = 1) -> Work:
    """Return calls whose time has a long tail, and nothing to do with their tokens."""
    rng = random.Random(seed)
    return lambda: (rng.lognormvariate(0, 0.7), 100)


def own_server(capacity: int = 64) -> AdaptiveWindow:
    return AdaptiveWindow(capacity, follows_latency=True)


def full_rounds(
    window: AdaptiveWindow, rounds: int, at_s: float = 0.0, latency_s: float = 1.0
) -> float:
    """Let a well used window answer; return when."""
    for _ in range(rounds):
        at_s += latency_s
        for _ in range(max(8, int(window.size))):
            window.answered(at_s - latency_s, at_s, 100, int(window.size))
    return at_s


def test_a_window_grows_to_its_capacity_while_it_is_used() -> None:
    window = AdaptiveWindow(64)
    window.busy(0, 0)
    assert window.size == 64 * CUT_BUSY
    full_rounds(window, 60, at_s=1)
    assert window.size == 64


def test_a_window_does_not_grow_while_it_is_idle() -> None:
    for window in (AdaptiveWindow(64), own_server()):
        window.busy(0, 0)
        before = window.size
        for second in range(1, 1_000):
            window.answered(second, second + 0.5, 100, in_flight=int(before * 0.5))
        assert window.size == before


def test_the_window_of_a_provider_begins_with_its_capacity_and_an_own_server_carefully() -> None:
    assert AdaptiveWindow(64).size == 64
    assert own_server().size == FIRST == 8
    assert own_server(4).size == 4
    assert own_server(2_000).size == 492, "who says 2,000 has a reason"


def test_busy_cuts_once_for_all_calls_of_a_flight() -> None:
    window = AdaptiveWindow(100)
    for _ in range(50):
        window.busy(began_s=1, now_s=2)
    assert (window.size, window.cuts) == (70, 1)
    window.busy(began_s=1.9, now_s=3)
    assert window.size == 70
    window.busy(began_s=2, now_s=3)
    assert window.size == pytest.approx(49)
    assert window.cuts == 2


def test_a_window_is_never_smaller_than_one_call() -> None:
    window = own_server()
    for second in range(200):
        window.busy(second, second + 1)
    assert window.size == SMALLEST == 1
    full_rounds(window, 300, at_s=300, latency_s=50)
    assert window.size >= 1


def test_a_provider_that_answers_more_slowly_is_not_cut() -> None:
    window = AdaptiveWindow(64)
    end_s = full_rounds(window, 10)
    full_rounds(window, 50, at_s=end_s, latency_s=60)
    assert (window.size, window.cuts) == (64, 0)


@pytest.mark.parametrize("work", [alike(1.0), by_token(20, 400), by_token(90, 110)])
def test_a_server_of_eight_slots_gets_little_more_than_it_works_on(work: Work) -> None:
    window = own_server()
    served = serve(window, 8, work, wanted=64, until_s=2_000)
    ideal = serve(None, 8, work, wanted=64, until_s=2_000)
    assert served.answers >= 0.97 * ideal.answers
    least, most = served.size_at_end()
    assert least >= 8
    assert most <= 32


@pytest.mark.parametrize("slots", [1, 2, 4, 16, 32, 48])
def test_however_many_slots_a_server_has_none_of_them_is_idle(slots: int) -> None:
    window = own_server()
    until_s = max(600, 2_000 / slots)
    served = serve(window, slots, alike(1.0), 64, until_s)
    ideal = serve(None, slots, alike(1.0), 64, until_s)
    assert served.answers >= 0.97 * ideal.answers
    least, most = served.size_at_end()
    assert least >= slots
    assert most <= max(5 * slots, 16), "of 64 that are wanted"


@pytest.mark.parametrize("work", [alike(1.0), by_token(10, 1_000), by_token(1, 20), uneven()])
def test_a_server_that_takes_all_at_once_keeps_its_full_capacity(work: Work) -> None:
    window = own_server()
    served = serve(window, 10**6, work, 64, until_s=400)
    ideal = serve(None, 10**6, work, 64, until_s=400)
    assert served.answers >= 0.97 * ideal.answers
    assert served.size_at_end(0.5) == (64, 64)


@pytest.mark.parametrize("capacity", [8, 16])
@pytest.mark.parametrize("seed", range(3))
def test_uneven_calls_are_not_taken_for_load(capacity: int, seed: int) -> None:
    served = serve(own_server(capacity), capacity, uneven(seed), capacity, until_s=2_000)
    ideal = serve(None, capacity, uneven(seed), capacity, until_s=2_000)
    assert served.answers >= 0.97 * ideal.answers


def test_longer_answers_are_no_load() -> None:
    """What decides is the latency for a token: ten times the tokens may take ten times as long."""
    window = own_server()
    end_s = full_rounds(window, 20)
    assert window.size == 64
    for _ in range(50):
        end_s += 10
        for _ in range(64):
            window.answered(end_s - 10, end_s, 1_180, 64)
    assert (window.size, window.cuts) == (64, 0)


def test_a_cut_that_does_not_help_is_taken_back() -> None:
    """The server is four times slower for all of its calls: fewer of them would take as long."""
    slow_s = iter([1.0] * 3_000 + [4.0] * 10**6)
    window = own_server()
    served = serve(window, 10**6, lambda: (next(slow_s), 100), 64, until_s=1_000)
    assert window.cuts == 1
    assert served.size_at_end(0.5) == (64, 64)


def test_a_server_that_gets_more_slots_gets_more_calls() -> None:
    window = own_server()
    few = serve(window, 8, alike(1.0), 64, until_s=600)
    assert few.size_at_end()[1] <= 32
    many = serve(window, 10**6, alike(1.0), 64, until_s=900, now_s=700)
    assert many.size_at_end() == (64, 64)


def test_differences_below_a_tenth_of_a_second_are_ignored() -> None:
    """Three times as long, but 60 ms longer: nothing is cut."""
    window = own_server()
    end_s = full_rounds(window, 20, latency_s=0.03)
    full_rounds(window, 200, at_s=end_s, latency_s=0.09)
    assert (window.size, window.cuts) == (64, 0)


def test_the_size_does_not_swing() -> None:
    """Once found, the size changes by one trial step up and back, and loses nothing by it."""
    window = own_server()
    served = serve(window, 8, alike(1.0), 64, until_s=3_000)
    least, most = served.size_at_end(0.7)
    assert most <= 1.5 * least


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "answered", "answered", "busy"]),
        st.floats(0, 1e4) | st.just(0.0),
        st.floats(0, 1e4) | st.just(0.0),
        st.integers(0, 10**6),
        st.integers(0, 100),
    ),
    max_size=300,
)


@given(CALLS, st.integers(1, 64), st.booleans())
def test_whatever_comes_the_size_is_between_one_and_the_capacity(
    calls: list[tuple[str, float, float, int, int]], capacity: int, follows_latency: bool
) -> None:
    window = AdaptiveWindow(capacity, follows_latency=follows_latency)
    now_s = 0.0
    for what, later_s, took_s, tokens, in_flight in calls:
        now_s += later_s
        if what == "busy":
            window.busy(now_s - took_s, now_s)
        else:
            for _ in range(20):
                window.answered(now_s - took_s, now_s, tokens, in_flight)
        assert 1 <= window.size <= capacity


def test_a_window_has_converged_when_it_stops_growing_and_not_before() -> None:
    window = own_server(256)
    assert not window.has_converged
    full_rounds(window, 2)
    assert window.size > FIRST
    assert not window.has_converged, "it grows as far as is known"
    full_rounds(window, 6, 10.0, latency_s=9.0)
    assert window.has_converged


def test_a_window_of_a_provider_is_what_it_bears_and_so_is_one_that_was_cut() -> None:
    assert AdaptiveWindow(64).has_converged
    window = own_server()
    window.busy(0, 1)
    assert window.has_converged
