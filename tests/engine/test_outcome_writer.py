"""One write for the rows of a turn, at once, and not too many ahead of the store of answers."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmscale.accounting.stats import Stats
from llmscale.core.errors import Interrupted, JobError, StorageError
from llmscale.core.records import Outcome
from llmscale.engine import outcome_writer as writer
from llmscale.engine.outcome_writer import OutcomeWriter, WhenSafe
from tests.job import Run, full, lines_of, outcome

pytestmark = pytest.mark.looptime


class Sink:
    """An `OutcomeSink` in memory that raises what it is told."""

    def __init__(self) -> None:
        self.writes: list[list[int]] = []
        self.failing: Exception | None = None

    def take_up(self, rows: int) -> None:
        pass

    def put(self, outcomes: Sequence[Outcome]) -> None:
        if self.failing is not None:
            raise self.failing
        self.writes.append([one.row.index for one in outcomes])

    def put_back(self) -> None:
        pass


class Vault:
    """A store that says that all is safe when it is told to, to one after the other."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def when_safe(self, then: Callable[[], None]) -> None:
        self.asked.append(then)

    def release(self) -> None:
        """Tell the first who has asked."""
        self.asked.pop(0)()


class Case:
    """A writer with all that is around it."""

    def __init__(self, when_safe: WhenSafe | None = None, max_unstored: int = 1_024) -> None:
        self.sink = Sink()
        self.stats = Stats()
        self.writer = OutcomeWriter(self.sink, self.stats, when_safe, max_unstored)

    def put(self, *indexes: int) -> None:
        for index in indexes:
            self.writer.put(outcome(index))

    async def put_each_in_a_turn(self, *indexes: int) -> None:
        for index in indexes:
            self.put(index)
            await turn()


async def turn() -> None:
    """Let the event loop do what it has to do."""
    for _ in range(3):
        await asyncio.sleep(0)


# --- one write a turn


async def test_the_outcomes_of_a_turn_are_one_write_in_their_order() -> None:
    case = Case()
    case.put(2, 0, 1)
    assert case.sink.writes == [], "others of this turn may come"
    await turn()
    case.put(4)
    case.put(3)
    await turn()
    assert case.sink.writes == [[2, 0, 1], [4, 3]]


async def test_without_an_outcome_nothing_is_written() -> None:
    case = Case()
    await turn()
    await case.writer.flush()
    case.writer.write_remaining()
    assert case.sink.writes == []


async def test_a_failed_row_is_written_like_any_other() -> None:
    case = Case()
    case.writer.put(outcome(0, failed=True))
    await case.writer.flush()
    assert case.sink.writes == [[0]]
    assert (case.stats.rows().answered, case.stats.rows().failed) == (0, 1)


async def test_rows_are_written_at_once_whatever_the_store_says() -> None:
    vault = Vault()
    case = Case(vault.when_safe)
    await case.put_each_in_a_turn(2, 0, 1)
    assert case.sink.writes == [[2], [0], [1]]
    assert case.stats.done == 3
    while vault.asked:
        vault.release()
    await turn()
    assert case.sink.writes == [[2], [0], [1]], "and not once more"


async def test_the_store_is_asked_when_the_turn_is_over_and_its_answers_are_all_there() -> None:
    vault = Vault()
    case = Case(vault.when_safe)
    case.put(0)
    assert vault.asked == []
    case.put(1)
    await turn()
    assert len(vault.asked) == 1


# --- how many may be ahead of the store


async def test_there_is_room_for_what_the_bound_leaves_until_answers_are_stored() -> None:
    vault = Vault()
    case = Case(vault.when_safe, max_unstored=2)
    assert case.writer.space_left == 2
    await case.put_each_in_a_turn(0)
    assert case.writer.space_left == 1
    await case.put_each_in_a_turn(1)
    assert case.writer.space_left == 0
    await case.put_each_in_a_turn(2)
    assert case.writer.space_left == -1, "of a row that was taken up before"
    vault.release()
    assert case.writer.space_left == 0, "there are two left"
    vault.release()
    assert case.writer.space_left == 1


async def test_a_group_that_is_stored_makes_room_before_one_that_is_not() -> None:
    vault = Vault()
    case = Case(vault.when_safe, max_unstored=2)
    await case.put_each_in_a_turn(0, 1)
    vault.asked.pop()()
    assert case.writer.space_left == 1


async def test_where_all_is_stored_already_there_is_room_at_the_end_of_the_turn() -> None:
    case = Case(lambda then: then(), max_unstored=1)
    await case.put_each_in_a_turn(0)
    assert case.writer.space_left == 1


async def test_what_is_not_even_written_counts_as_not_stored() -> None:
    case = Case(max_unstored=2)
    case.put(0, 1)
    assert case.writer.space_left == 0
    await turn()
    assert case.writer.space_left == 2


async def test_all_who_wait_for_room_go_on_when_there_is_some() -> None:
    vault = Vault()
    case = Case(vault.when_safe, max_unstored=1)
    case.put(0)
    waiting = [asyncio.create_task(case.writer.space()) for _ in range(3)]
    await asyncio.sleep(1000)
    assert not any(task.done() for task in waiting)
    vault.release()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)


async def test_where_there_is_room_nobody_waits_for_it() -> None:
    async with asyncio.timeout(1):
        await Case().writer.space()


async def test_flush_waits_until_all_is_stored() -> None:
    vault = Vault()
    case = Case(vault.when_safe)
    await case.put_each_in_a_turn(0, 1)
    flushing = asyncio.create_task(case.writer.flush())
    await asyncio.sleep(1000)
    assert not flushing.done()
    vault.release()
    await turn()
    assert not flushing.done(), "one of two"
    vault.release()
    async with asyncio.timeout(1):
        await flushing


async def test_flush_waits_for_what_was_put_in_this_turn() -> None:
    case = Case()
    case.put(0)
    await case.writer.flush()
    assert case.sink.writes == [[0]]


# --- what goes wrong

FULL = StorageError("disk full")


@pytest.mark.parametrize("error", [FULL, Interrupted(signal.SIGPIPE), TypeError("a fault of ours")])
async def test_what_a_write_has_met_is_raised_to_all_who_wait_now_or_later(
    error: Exception,
) -> None:
    case = Case(Vault().when_safe, max_unstored=1)
    case.put(0)
    waits = (case.writer.space(), case.writer.flush(), case.writer.fail())
    waiting = [asyncio.create_task(wait) for wait in waits]
    case.sink.failing = error
    async with asyncio.timeout(1):
        assert await asyncio.gather(*waiting, return_exceptions=True) == [error] * 3
    for wait in (case.writer.space, case.writer.flush, case.writer.fail):
        with pytest.raises(type(error)) as caught:
            await wait()
        assert caught.value is error


@pytest.mark.parametrize("error", [FULL, TypeError("a fault of ours")])
async def test_what_comes_after_a_write_that_failed_stays_pending_and_says_nothing(
    error: Exception,
) -> None:
    """Who puts it away may be in the middle of a group; who waits for the writer is told."""
    case = Case()
    case.sink.failing = error
    await case.put_each_in_a_turn(0)
    case.sink.failing = None
    await case.put_each_in_a_turn(1)
    case.put(2)
    case.writer.write_remaining()
    assert (case.sink.writes, case.stats.done) == ([], 0)


async def test_nothing_is_raised_while_nothing_fails() -> None:
    case = Case()
    failing = asyncio.create_task(case.writer.fail())
    await case.put_each_in_a_turn(0, 1, 2)
    await asyncio.sleep(1000)
    assert not failing.done()
    failing.cancel()


async def test_what_was_not_written_is_not_counted() -> None:
    case = Case()
    await case.put_each_in_a_turn(0, 1)
    assert case.stats.done == 2
    case.put(2, 3)
    assert case.stats.done == 2, "not before it is written"
    case.sink.failing = FULL
    await turn()
    assert case.stats.done == case.stats.rows().answered == 2


async def test_a_row_that_was_answered_before_a_write_that_fails_stays_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = Stats()
    with Run(tmp_path).up_to_the_end(most=1) as job, monkeypatch.context() as patch:
        writer = OutcomeWriter(job, stats)
        for index in (1, 2):
            job.take_up(1)
            writer.put(outcome(index))
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="No space left on device"):
            await writer.flush()
        writer.write_remaining()
        assert [job.journal.has_answer(index) for index in (1, 2)] == [False, False]
    assert stats.done == 0
    assert Run(tmp_path).to_the_end().asked == [3, 2, 1, 0]
    assert [line["error"] for line in lines_of(tmp_path / "out.jsonl")] == [None] * 5


# --- the end


async def test_the_rest_is_written_at_once_and_only_once() -> None:
    case = Case(Vault().when_safe)
    await case.put_each_in_a_turn(0, 1)
    case.put(2, 3)
    case.writer.write_remaining()
    case.writer.write_remaining()
    await turn()
    assert case.sink.writes == [[0], [1], [2, 3]]
    assert case.stats.done == 4


@pytest.mark.parametrize("error", [FULL, Interrupted(signal.SIGPIPE)])
async def test_a_rest_that_can_not_be_written_raises_nothing_over_what_ended_the_job(
    error: JobError,
) -> None:
    case = Case()
    case.put(0, 1)
    case.sink.failing = error
    case.writer.write_remaining()
    assert case.stats.done == 0


class SlowSink(Sink):
    """A sink whose writes take a while, part of it work of this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = self.worked_s = 0.0

    def put(self, outcomes: Sequence[Outcome]) -> None:
        self.now_s += 1.0
        self.worked_s += 0.25
        super().put(outcomes)


@pytest.mark.parametrize("failing", [None, StorageError("full")])
async def test_how_long_writes_held_everything_up_is_without_what_they_worked(
    failing: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, slow = Case(), SlowSink()
    slow.failing = failing
    clocks = SimpleNamespace(monotonic=lambda: slow.now_s, thread_time=lambda: slow.worked_s)
    monkeypatch.setattr(writer, "time", clocks)
    case.writer = OutcomeWriter(slow, case.stats)
    assert case.writer.stood_still_s == 0
    case.put(0)
    await turn()
    assert case.writer.stood_still_s == 0.75
