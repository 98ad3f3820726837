"""At most `width` rows in flight: pulled from the feed, answered, put away.

A failed row is put away like any other; only what stops the job is raised.
"""

import asyncio
import logging
from collections.abc import Callable

from llmscale.contracts import Answers, OutcomeSink
from llmscale.errors import CallFailed, CallStopped, JobError, first_error
from llmscale.feed import Feed
from llmscale.records import Failure, Outcome, Row
from llmscale.writer import Writer

log = logging.getLogger(__name__)


class Pipeline:
    """Takes every row of `feed` to an outcome, and through `writer` to `sink`."""

    def __init__(
        self,
        feed: Feed,
        answers: Answers,
        sink: OutcomeSink,
        writer: Writer,
        width: int,
        *,
        input_ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`input_ended` is called when the feed has no further row, perhaps more than once."""
        self._feed = feed
        self._answers = answers
        self._sink = sink
        self._writer = writer
        self._width = width
        self._input_ended = input_ended
        self._stopped = False
        self.workers = 0  # that may take up a row
        self.has_ended = False  # there is no further row to take up
        self.waiting_for_rows = 0  # of them
        self.waiting_for_room = 0  # of them: what was answered is not written yet

    async def run(self) -> None:
        """Work until the input ends or `stop` is called.

        Raises the `JobError` that ended the job; rows without an outcome stay pending.
        """
        try:
            async with asyncio.TaskGroup() as group:
                failing = group.create_task(self._writer.fail())
                async with asyncio.TaskGroup() as workers:
                    for _ in range(self._width):
                        workers.create_task(self._work())
                await self._writer.flush()
                failing.cancel()
        except* JobError as errors:
            raise first_error(errors) from None
        finally:
            self._writer.write_rest()

    def stop(self) -> None:
        """Take up no further row."""
        self._stopped = True
        self._feed.stop()

    async def _work(self) -> None:
        self.workers += 1
        try:
            while (row := await self._next()) is not None:
                await self._process(row)
        finally:
            self.workers -= 1
        self.has_ended = True
        self._input_ended()

    async def _next(self) -> Row | None:
        """Return the next row when there is room for it, None at the end or after `stop`."""
        if self._writer.is_full and not self._stopped:
            self.waiting_for_room += 1
            try:
                await self._writer.room()
            finally:
                self.waiting_for_room -= 1
        if self._stopped:
            return None
        self.waiting_for_rows += 1
        try:
            row = await self._feed.next()
        finally:
            self.waiting_for_rows -= 1
        return None if self._stopped else row

    async def _process(self, row: Row) -> None:
        self._sink.take_up()
        began_s = asyncio.get_running_loop().time()
        try:
            outcome = await self._outcome(row, began_s)
        except CallStopped:
            self._sink.put_back()
            return
        self._feed.settle(outcome)
        self._writer.put(outcome)

    async def _outcome(self, row: Row, began_s: float) -> Outcome:
        if row.request is None or row.failure is not None:
            return Outcome(row=row, failure=row.failure)
        loop = asyncio.get_running_loop()
        try:
            reply = await self._answers.answer(row.request)
        except CallFailed as error:
            failure, attempts = error.failure, error.attempts
            log.debug("row %d failed: %s", row.index, failure.message)
        except (CallStopped, JobError):
            raise
        except Exception as error:
            log.debug("row %d hit a fault of llmscale", row.index, exc_info=True)
            message = f"a fault of llmscale itself, please report it: {type(error).__name__}"
            failure, attempts = Failure(kind="internal", message=message, retryable=True), 1
        else:
            return Outcome(
                row=row, reply=reply, attempts=reply.attempts, latency_s=loop.time() - began_s
            )
        return Outcome(row=row, failure=failure, attempts=attempts, latency_s=loop.time() - began_s)
