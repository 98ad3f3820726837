"""At most `max_in_flight` rows in flight: pulled from the feed, answered, put away.

Rows are taken up several at a time, so that what costs the same for one and for many is done once.
Each is put away by itself and frees its slot. A failed row is put away like any other; only what
stops the job is raised.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from llmscale.core.asked_row import AskedRow, Result
from llmscale.core.errors import CallFailed, CallStopped, JobError, ProviderRefused, first_error
from llmscale.core.protocols import Answers, OutcomeSink
from llmscale.core.records import Failure, Outcome, Reply, Request, Row
from llmscale.engine.feed import Feed
from llmscale.engine.outcome_writer import OutcomeWriter

log = logging.getLogger(__name__)

DRAIN_S = 5.0  # for calls in flight when a run ends early, which may be paid for already


class Intake(NamedTuple):
    """How many rows are taken up."""

    max_in_flight: int
    rows_per_take: int = 1  # at most, in one step


class Pipeline:
    """Takes every row of `feed` to an outcome, and through `writer` to `sink`."""

    def __init__(
        self,
        feed: Feed,
        answers: Answers,
        sink: OutcomeSink,
        writer: OutcomeWriter,
        intake: Intake,
        *,
        input_ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`input_ended` is called when the feed has no further row."""
        self._feed = feed
        self._answers = answers
        self._sink = sink
        self._writer = writer
        self._intake = intake
        self._input_ended = input_ended
        self._stopped = False
        self._ended_by: JobError | None = None
        self._has_ended_early = asyncio.Event()
        self.when_ended_early: Callable[[], None] = self.stop
        """Called when an error ends the job; calls in flight may finish, as they may be paid."""
        self._has_slot = asyncio.Event()
        self._clock = asyncio.get_running_loop().time  # a system call, so not for each row
        self.in_flight = 0  # rows
        self.waits_for: Literal["rows", "space"] | None = None  # before it takes up a row
        self.has_ended = False  # there is no further row to take up

    async def run(self) -> None:
        """Work until the input ends or `stop` is called.

        Raises the `JobError` that ended the job; rows without an outcome stay pending.
        """
        try:
            async with asyncio.TaskGroup() as group:
                failing = group.create_task(self._writer.fail())
                giving_up = group.create_task(self._give_up())
                async with asyncio.TaskGroup() as answering:
                    while rows := await self._next():
                        self.in_flight += len(rows)
                        self._sink.take_up(len(rows))
                        answering.create_task(self._answer(rows))
                    self.has_ended = True
                    await asyncio.sleep(
                        0
                    )  # the last rows are asked before the input is said to have ended
                    self._input_ended()
                await self._writer.flush()
                failing.cancel()
                giving_up.cancel()
            if self._ended_by is not None:
                raise self._ended_by
        except Exception as error:
            raise first_error(error) from None
        finally:
            self._writer.write_remaining()

    def stop(self) -> None:
        """Take up no further row."""
        self._stopped = True
        self._feed.stop()
        self._has_slot.set()

    async def _next(self) -> Sequence[Row]:
        """Return the next rows when there are slots and space for them, none at the end."""
        while not self._stopped:
            slots = self._intake.max_in_flight - self.in_flight
            space = self._writer.space_left
            if slots <= 0:
                self._has_slot.clear()
                await self._has_slot.wait()
            elif space <= 0:
                self.waits_for = "space"
                await self._writer.space()
            else:
                self.waits_for = "rows"
                rows = await self._feed.take(min(slots, space, self._intake.rows_per_take))
                self.waits_for = None
                return () if self._stopped else rows
            self.waits_for = None
        return ()

    def _end_early(self, error: JobError) -> None:
        """Take up no further row; the first error of the job is raised once calls have ended."""
        if self._ended_by is None:
            self._ended_by = error
            self._has_ended_early.set()
            self.when_ended_early()

    async def _give_up(self) -> None:
        """Raise the error that ended the job where calls in flight take longer than `DRAIN_S`."""
        await self._has_ended_early.wait()
        await asyncio.sleep(DRAIN_S)
        if self._ended_by is not None:
            raise self._ended_by

    async def _answer(self, rows: Sequence[Row]) -> None:
        """Take rows to their outcomes; a `JobError` ends the job."""
        group = _TakenRows(self._clock(), self._deliver)
        asked: list[AskedRow] = []
        for row in rows:
            if row.request is None or row.failure is not None:
                self._put_away(Outcome(row=row, failure=row.failure))
            else:
                asked.append(group.asked(row, row.request))
        error: Exception = RuntimeError("a layer did not deliver the result of every row")
        try:
            if asked:
                await self._answers.answer_all(asked)
        except Exception as raised:
            cause = first_error(raised)
            if isinstance(cause, JobError):
                self._end_early(cause)
                error = CallStopped(may_be_paid=not isinstance(cause, ProviderRefused))
            else:
                error = raised
        group.fail(error)  # else they would keep their slots for ever

    def _deliver(self, row: Row, result: Result, began_s: float) -> None:
        """Take over the result of a row that was asked."""
        if not isinstance(result, CallStopped):
            self._put_away(_outcome(row, result, self._clock() - began_s))
            return
        if not result.may_be_paid:
            self._sink.put_back()
        self._free_slot()

    def _put_away(self, outcome: Outcome) -> None:
        self._feed.reconcile(outcome)
        self._writer.put(outcome)
        self._free_slot()

    def _free_slot(self) -> None:
        self.in_flight -= 1
        self._has_slot.set()


class _TakenRows:
    """Rows that were taken up at the same time, until each has its result."""

    __slots__ = ("_began_s", "_deliver", "_rows")

    def __init__(self, began_s: float, deliver: Callable[[Row, Result, float], None]) -> None:
        self._began_s = began_s
        self._deliver = deliver
        self._rows: dict[AskedRow, Row] = {}  # without a result

    def asked(self, row: Row, request: Request) -> AskedRow:
        """Return a row to ask, whose result ends here."""
        asked = AskedRow(request, self)
        self._rows[asked] = row
        return asked

    def receive(self, row: AskedRow, result: Result) -> None:
        """Deliver the first result of a row to the pipeline."""
        self._deliver(self._rows.pop(row), result, self._began_s)

    def fail(self, error: Exception) -> None:
        """Deliver an error to the rows that are left."""
        for row in list(self._rows):
            self.receive(row, error)


def _outcome(row: Row, result: Result, latency_s: float) -> Outcome:
    """Return what a row that was asked has come to."""
    if isinstance(result, Reply):
        return Outcome(row=row, reply=result, attempts=result.attempts, latency_s=latency_s)
    failure, attempts = _failed(row, result)
    return Outcome(row=row, failure=failure, attempts=attempts, latency_s=latency_s)


def _failed(row: Row, error: Exception) -> tuple[Failure, int]:
    """Return what a row has met, and in how many attempts."""
    if isinstance(error, CallFailed):
        log.debug("row %d failed: %s", row.index, error.failure.message)
        return error.failure, error.attempts
    log.debug("row %d hit a fault of llmscale", row.index, exc_info=error)
    message = f"a fault of llmscale itself, please report it: {type(first_error(error)).__name__}"
    return Failure(kind="internal", message=message, retryable=True), 1
