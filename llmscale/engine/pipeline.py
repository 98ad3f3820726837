"""At most `width` rows in flight: pulled from the feed, answered, put away.

Rows that are at hand are taken up some at a time, so that what costs the same for one and for many
is done once; each is put away by itself, and its place is free again. A failed row is put away like
any other; only what stops the job is raised.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Literal

from llmscale.core.errors import CallFailed, CallStopped, JobError, first_error
from llmscale.core.protocols import Answers, OutcomeSink
from llmscale.core.records import Failure, Outcome, Reply, Request, Row
from llmscale.engine.feed import Feed
from llmscale.engine.outcome_writer import OutcomeWriter

log = logging.getLogger(__name__)


class Pipeline:
    """Takes every row of `feed` to an outcome, and through `writer` to `sink`."""

    def __init__(
        self,
        feed: Feed,
        answers: Answers,
        sink: OutcomeSink,
        writer: OutcomeWriter,
        width: int,
        *,
        together: int = 1,
        input_ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`together`: rows that are taken up at a time, at the most.

        `input_ended` is called when the feed has no further row.
        """
        self._feed = feed
        self._answers = answers
        self._sink = sink
        self._writer = writer
        self._width = width
        self._together = together
        self._input_ended = input_ended
        self._stopped = False
        self._has_place = asyncio.Event()
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
                async with asyncio.TaskGroup() as answering:
                    while rows := await self._next():
                        self.in_flight += len(rows)
                        self._sink.take_up(len(rows))
                        answering.create_task(self._answer(rows))
                    self.has_ended = True
                    await asyncio.sleep(0)  # the last rows are asked before that is told
                    self._input_ended()
                await self._writer.flush()
                failing.cancel()
        except Exception as error:
            raise first_error(error) from None
        finally:
            self._writer.write_rest()

    def stop(self) -> None:
        """Take up no further row."""
        self._stopped = True
        self._feed.stop()
        self._has_place.set()

    async def _next(self) -> Sequence[Row]:
        """Return the next rows when there are places and room for them, none at the end."""
        while not self._stopped:
            places = self._width - self.in_flight
            room = self._writer.room_left
            if places <= 0:
                self._has_place.clear()
                await self._has_place.wait()
            elif room <= 0:
                self.waits_for = "space"
                await self._writer.room()
            else:
                self.waits_for = "rows"
                rows = await self._feed.take(min(places, room, self._together))
                self.waits_for = None
                return () if self._stopped else rows
            self.waits_for = None
        return ()

    async def _answer(self, rows: Sequence[Row]) -> None:
        """Settle rows. Raises the `JobError` that ends all."""
        asked: dict[int, Row] = {}  # by position, until they are settled
        requests: list[Request] = []
        for row in rows:
            if row.request is None or row.failure is not None:
                self._put_away(Outcome(row=row, failure=row.failure))
            else:
                asked[len(requests)] = row
                requests.append(row.request)
        began_s = self._clock()

        def settle(position: int, result: Reply | Exception) -> None:
            row = asked.pop(position)
            if not isinstance(result, CallStopped):
                self._put_away(_outcome(row, result, self._clock() - began_s))
                return
            if not result.may_be_paid:
                self._sink.put_back()
            self._free_place()

        error: Exception = RuntimeError("a layer has not settled all rows")
        try:
            if requests:
                await self._answers.answer_all(requests, settle)
        except Exception as raised:
            if isinstance(first_error(raised), JobError):
                raise
            error = raised
        for position in list(asked):  # else they would keep their places for ever
            settle(position, error)

    def _put_away(self, outcome: Outcome) -> None:
        self._feed.settle(outcome)
        self._writer.put(outcome)
        self._free_place()

    def _free_place(self) -> None:
        self.in_flight -= 1
        self._has_place.set()


def _outcome(row: Row, result: Reply | Exception, latency_s: float) -> Outcome:
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
