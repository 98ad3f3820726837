"""Rows in the order of the input, one block ahead of the work and no further."""

import asyncio
from collections import deque
from collections.abc import Iterator

from llmscale.records import Outcome, Row


class InOrder:
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

    def settle(self, outcome: Outcome) -> None:
        """Nothing comes of it: the next row does not depend on this one."""

    def stop(self) -> None:
        """Nobody waits here but for the input."""

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
