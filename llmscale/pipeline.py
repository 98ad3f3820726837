"""At most `width` rows in flight: pulled from the input, answered, put away.

A failed row is put away like any other; only what stops the job is raised. Rows are read in a
thread, one block ahead of the work and no further, so that memory does not grow with the input.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator

from llmscale.contracts import Answers, OutcomeSink
from llmscale.errors import CallFailed, CallStopped, JobError, first_error
from llmscale.records import Failure, Outcome, Row
from llmscale.stats import Stats

log = logging.getLogger(__name__)


class Pipeline:
    """Takes every row of `blocks` to an outcome in `sink`."""

    def __init__(
        self,
        blocks: Iterator[list[Row]],
        answers: Answers,
        sink: OutcomeSink,
        stats: Stats,
        width: int,
    ) -> None:
        self._feed = _Feed(blocks)
        self._answers = answers
        self._sink = sink
        self._stats = stats
        self._width = width
        self._stopped = False

    async def run(self) -> None:
        """Work until the input ends or `stop` is called.

        Raises the `JobError` that ended the job; rows without an outcome stay pending.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._width):
                    group.create_task(self._work())
        except* JobError as errors:
            raise first_error(errors) from None

    def stop(self) -> None:
        """Take up no further row."""
        self._stopped = True

    async def _work(self) -> None:
        while not self._stopped:
            row = await self._feed.next()
            if row is None or self._stopped:
                return
            await self._process(row)

    async def _process(self, row: Row) -> None:
        self._sink.take_up()
        began_s = asyncio.get_running_loop().time()
        try:
            outcome = await self._outcome(row, began_s)
        except CallStopped:
            self._sink.put_back()
            return
        self._sink.put(outcome)
        self._stats.add_outcome(outcome)

    async def _outcome(self, row: Row, began_s: float) -> Outcome:
        if row.request is None:
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


class _Feed:
    """Hands out rows one by one, and has the next block read while the last is worked on."""

    def __init__(self, blocks: Iterator[list[Row]]) -> None:
        self._blocks = blocks
        self._rows: deque[Row] = deque()
        self._ahead: asyncio.Future[list[Row] | None] | None = None
        self._ended = False

    async def next(self) -> Row | None:
        """Return the next row, None at the end."""
        while not self._rows and not self._ended:
            await self._refill()
        return self._rows.popleft() if self._rows else None

    async def _refill(self) -> None:
        """Wait for the block that is being read; the first who wakes takes it."""
        if self._ahead is None:
            self._ahead = self._read()
        reading = self._ahead
        await asyncio.wait((reading,))
        if self._ahead is not reading:  # another has taken it
            return
        block = reading.result()
        if block is None:
            self._ended = True
            return
        self._rows.extend(block)
        self._ahead = self._read()

    def _read(self) -> asyncio.Future[list[Row] | None]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, next, self._blocks, None)
