"""Users in turn: nobody is held up by another, and each row costs little however many wait."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmscale.config import UserLimit
from llmscale.core.records import Outcome, Row
from llmscale.engine.feed.fair_queue import LOOKAHEAD, FairQueue
from tests.engine.feed import answered, cached, failed, limits_of, row_of, rows_of_users
from tests.virtual_time import most_in_a_minute, now_s, virtually


class Opening:
    """Budgets of which each opens at a time, and counts how often it was asked."""

    def __init__(self, opens_at_s: dict[str | None, float] | None = None) -> None:
        self.opens_at_s = opens_at_s or {}
        self.now_s = 0.0
        self.asked = 0

    def wait_s(self, row: Row) -> float:
        self.asked += 1
        return max(0.0, self.opens_at_s.get(row.user, 0.0) - self.now_s)

    def take(self, row: Row) -> Row:
        return row


def popped(queue: FairQueue, now_s: float = 0.0) -> list[Row]:
    """Return all that may go now."""
    rows = []
    while (row := queue.pop(now_s)) is not None:
        rows.append(row)
    return rows


def queue_of(users: str, budgets: Opening | None = None, max_rows: int = 10_000) -> FairQueue:
    """Return a queue with a row for each letter."""
    queue = FairQueue(budgets or Opening(), max_rows)
    for row in rows_of_users(users):
        queue.park(row)
    return queue


def test_users_take_turns_and_each_is_served_first_come_first_served() -> None:
    rows = popped(queue_of("aaaabbc"))
    assert [row.user for row in rows] == ["a", "b", "c", "a", "b", "a", "a"]
    for user in "abc":
        own = [row.index for row in rows if row.user == user]
        assert own == sorted(own)


@given(st.text(alphabet="abcdefg", max_size=80))
def test_of_users_with_rows_none_is_ever_more_than_one_turn_ahead(users: str) -> None:
    left, served = Counter(users), Counter[str | None]()
    for row in popped(queue_of(users)):
        served[row.user] += 1
        behind = [user for user in left if served[user] < left[user]]
        assert all(served[user] >= served[row.user] - 1 for user in behind)
    assert served == left


def test_who_has_to_wait_is_passed_by_and_comes_when_the_time_has() -> None:
    budgets = Opening({"a": 10.0, "b": 5.0})
    queue = queue_of("abbc", budgets)
    assert [row.user for row in popped(queue)] == ["c"]
    assert queue.next_at_s() == 5.0
    budgets.now_s = 5.0
    assert [row.user for row in popped(queue, 5.0)] == ["b", "b"]
    assert queue.next_at_s() == 10.0
    budgets.now_s = 10.0
    assert [row.user for row in popped(queue, 10.0)] == ["a"]
    assert queue.next_at_s() is None


def test_who_has_to_wait_longer_than_it_seemed_is_asked_again_and_not_let_in() -> None:
    budgets = Opening({"a": 5.0})
    queue = queue_of("a", budgets)
    assert popped(queue) == []
    budgets.opens_at_s["a"], budgets.now_s = 9.0, 5.0
    assert popped(queue, 5.0) == []
    assert queue.next_at_s() == 9.0


def test_who_was_given_something_back_comes_sooner_and_never_later() -> None:
    budgets = Opening({"a": 50.0})
    queue = queue_of("a", budgets)
    popped(queue)
    assert not queue.reconsider("a", 0.0)
    budgets.opens_at_s["a"] = 60.0
    assert not queue.reconsider("a", 0.0)
    assert queue.next_at_s() == 50.0
    budgets.opens_at_s["a"] = 20.0
    assert queue.reconsider("a", 0.0)
    assert queue.next_at_s() == 20.0
    budgets.opens_at_s["a"] = 0.0
    assert queue.reconsider("a", 0.0)
    assert [row.user for row in popped(queue)] == ["a"]
    assert not queue.reconsider("a", 0.0)


def test_a_user_fills_a_tenth_of_the_room_that_is_left_and_a_newcomer_finds_a_place() -> None:
    queue = FairQueue(Opening(), 1_000)
    for user in "abcdefgh":
        while queue.has_space(user):
            queue.park(row_of(user))
    assert queue.rows_of("a") == 91
    assert len(queue) < 600
    for number in range(1_000 - len(queue)):
        assert queue.has_space(f"new {number}")
        queue.park(row_of(f"new {number}"))
    assert queue.is_full
    assert not queue.has_space("another")


def test_a_queue_holds_a_thousand_rows_of_a_greedy_user_at_most() -> None:
    queue = FairQueue(Opening())
    while queue.has_space("greedy"):
        queue.park(row_of("greedy"))
    assert len(queue) <= 1_000 < LOOKAHEAD


def test_a_row_asks_for_little_with_a_hundred_thousand_users_waiting() -> None:
    rng = random.Random(1)
    users = [f"u{number}" for number in range(100_000)]
    budgets = Opening({user: rng.uniform(1, 1_000) for user in users})
    queue = FairQueue(budgets, 200_000)
    for row in rows_of_users(users):
        queue.park(row)
    assert popped(queue) == []
    asked = budgets.asked
    assert asked == 100_000, "once each, to learn how long"
    for _ in range(1_000):
        budgets.now_s = queue.next_at_s() or 0.0
        assert queue.pop(budgets.now_s) is not None
        assert queue.pop(budgets.now_s) is None
    assert budgets.asked - asked == 1_000


class Play:
    """Rows of users that arrive, go as soon as they may, and end in one way or another."""

    def __init__(self, rpm: float, arrivals: list[tuple[float, str, str]]) -> None:
        self._limits = limits_of(UserLimit(rpm=rpm))
        self._queue = FairQueue(self._limits)
        self._arrivals = arrivals
        self._changed = asyncio.Event()
        self.gone: list[tuple[float, Row]] = []

    async def run(self) -> None:
        """Go on until all are gone and have ended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._arrive())
            while len(self.gone) < len(self._arrivals):
                self._changed.clear()
                row = self._queue.pop(now_s())
                if row is not None:
                    self.gone.append((now_s(), row))
                    group.create_task(self._end(row))
                    continue
                try:
                    async with asyncio.timeout_at(self._queue.next_at_s()):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def _arrive(self) -> None:
        for index, (gap_s, user, _) in enumerate(self._arrivals):
            await asyncio.sleep(gap_s)
            self._queue.park(row_of(user, index))
            self._changed.set()

    async def _end(self, row: Row) -> None:
        await asyncio.sleep(2.0)
        ends: dict[str, Outcome] = {
            "answered": answered(row),
            "failed": failed(row, 3),
            "cached": cached(row),
            "cancelled": failed(row, 0),
        }
        self._limits.reconcile(ends[self._arrivals[row.index][2]])
        if self._queue.reconsider(row.user, now_s()):
            self._changed.set()

    def of_user(self, user: str, ends: tuple[str, ...]) -> list[tuple[float, float]]:
        """Return when the rows of a user went that ended in one of those ways."""
        return [
            (at_s, 1.0)
            for at_s, row in self.gone
            if row.user == user and self._arrivals[row.index][2] in ends
        ]


RPM = st.sampled_from([1, 2, 7, 60, 100, 600])
GAP_S = st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, 40))
ENDS = st.sampled_from(["answered", "answered", "failed", "cached", "cancelled"])
ARRIVALS = st.lists(st.tuples(GAP_S, st.sampled_from("abc"), ENDS), max_size=60)
ALL_ENDS = ("answered", "failed", "cached", "cancelled")
EXAMPLES = [
    pytest.param(100, id="some"),
    pytest.param(10_000, id="many", marks=pytest.mark.campaign),
]


Rule = Callable[[float, list[tuple[float, str, str]]], None]


def search(examples: int, rule: Rule) -> None:
    """Hold a rule against so many examples."""
    settings(max_examples=examples)(given(RPM, ARRIVALS)(rule))()


@pytest.mark.parametrize("examples", EXAMPLES)
def test_no_user_is_above_the_limit_in_any_minute_whatever_comes_and_is_given_up(
    examples: int,
) -> None:
    def rule(rpm: float, arrivals: list[tuple[float, str, str]]) -> None:
        play = Play(rpm, arrivals)
        virtually(play.run)
        for user in "abc":
            assert most_in_a_minute(play.of_user(user, ("answered", "failed"))) <= rpm
            own = [row.index for _, row in play.gone if row.user == user]
            assert own == sorted(own), "first come, first served"

    search(examples, rule)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_user_waits_as_if_there_were_no_others(examples: int) -> None:
    def rule(rpm: float, arrivals: list[tuple[float, str, str]]) -> None:
        together = Play(rpm, arrivals)
        virtually(together.run)
        for user in "abc":
            gaps_s, alone, since_s = [], [], 0.0
            for gap_s, other, end in arrivals:
                since_s += gap_s
                if other == user:
                    gaps_s.append(since_s)
                    alone.append((since_s, user, end))
                    since_s = 0.0
            by_itself = Play(rpm, alone)
            virtually(by_itself.run)
            times_s = [at for at, _ in together.of_user(user, ALL_ENDS)]
            assert times_s == pytest.approx(
                [at for at, _ in by_itself.of_user(user, ALL_ENDS)], abs=1e-3
            )

    search(examples, rule)
