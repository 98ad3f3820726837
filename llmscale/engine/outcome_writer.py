"""Outcomes to the sink: many in one write, and not too far ahead of the cache.

The outcomes of one turn of the event loop are written at once, since a row that is written is never
sent again. Where answers are stored for other runs too, a row keeps its space here until
that is done, but no slot among those in flight.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from llmscale.accounting.stats import Stats
from llmscale.core.protocols import OutcomeSink
from llmscale.core.records import Outcome

MAX_UNSTORED = 1_024  # outcomes; then no further row is taken up, so that memory stays flat

WhenSafe = Callable[[Callable[[], None]], None]
"""Calls back once every answer that was handed to the store until now is safe, or given up."""


class OutcomeWriter:
    """Hands outcomes to `sink` in groups, and counts them once they are there."""

    def __init__(
        self,
        sink: OutcomeSink,
        stats: Stats,
        when_safe: WhenSafe | None = None,
        max_unstored: int = MAX_UNSTORED,
    ) -> None:
        self._sink = sink
        self._stats = stats
        self._when_safe = when_safe
        self._max_unstored = max_unstored
        self._gathering: list[Outcome] = []
        self._unstored = 0
        self.stood_still_s = 0.0  # in all, without the processor, until the sink took something
        self._error: Exception | None = None
        self._progress = asyncio.Event()

    @property
    def space_left(self) -> int:
        """How many rows may be taken up before `space` has to be awaited; 0 or less: none."""
        return self._max_unstored - self._unstored

    def put(self, outcome: Outcome) -> None:
        """Take over the outcome of a row; after a write that failed, it stays pending."""
        if self._error is not None:
            return
        if not self._gathering:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._gathering.append(outcome)
        self._unstored += 1

    async def space(self) -> None:
        """Return when there is space for another row. Raises what a write has met."""
        await self._until(lambda: self.space_left > 0)

    async def flush(self) -> None:
        """Return when all is written and stored. Raises what a write has met."""
        await self._until(lambda: not self._unstored)

    async def fail(self) -> None:
        """Never return. Raises what a write has met, as soon as it has."""
        await self._until(lambda: False)

    def write_remaining(self) -> None:
        """Write what is left of this turn: the job is coming to an end."""
        group, self._gathering = self._gathering, []
        self._write(group)

    def _end_turn(self) -> None:
        group, self._gathering = self._gathering, []
        self._write(group)
        if self._when_safe is None:
            self._free_space(len(group))
        else:
            self._when_safe(lambda: self._free_space(len(group)))

    def _write(self, group: Sequence[Outcome]) -> None:
        if not group:
            return
        began_s, worked_s = time.monotonic(), time.thread_time()
        try:
            self._sink.put(group)
        except Exception as error:  # a fault of ours too, or who waits would wait for ever
            self._error = error
            self._progress.set()
        else:
            for outcome in group:
                self._stats.add_outcome(outcome)
        passed_s, worked_s = time.monotonic() - began_s, time.thread_time() - worked_s
        self.stood_still_s += max(0.0, passed_s - worked_s)

    def _free_space(self, rows: int) -> None:
        self._unstored -= rows
        self._progress.set()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so() and self._error is None:
            self._progress.clear()
            await self._progress.wait()
        if self._error is not None:
            raise self._error
