"""Rows in the order of the input, one block ahead of the work and no further."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Literal

from llmscale.records import Outcome, Row


class InOrder:
    """Hands out rows one by one, and has the next block read while the last is worked on."""

    def __init__(self, blocks: Iterator[list[Row]]) -> None:
        self._blocks = blocks
        self._rows: deque[Row] = deque()
        self._ahead: asyncio.Future[list[Row] | None] | None = None
        self._arrival = asyncio.Event()  # of the block that is being read
        self._ended = False

    @property
    def waits_for(self) -> Literal["reading"]:
        """What keeps the next row: it is being read."""
        return "reading"

    @property
    def has_ended(self) -> bool:
        """Tell whether it is known that no further row will come."""
        return not self._rows and (self._ended or _is_end(self._ahead))

    async def next(self) -> Row | None:
        """Return the next row, None at the end."""
        while not self._rows and not self._ended:
            if self._ahead is None:
                self._ahead = self._read()
            await self._arrival.wait()
            if self._ahead.done():  # else another has taken it, and the next one is being read
                self._take(self._ahead.result())
        return self._rows.popleft() if self._rows else None

    def settle(self, outcome: Outcome) -> None:
        """Nothing comes of it: the next row does not depend on this one."""

    def stop(self) -> None:
        """Nobody waits here but for the input."""

    def _take(self, block: list[Row] | None) -> None:
        if block is None:
            self._ended = True
            return
        self._rows.extend(block)
        self._ahead = self._read()

    def _read(self) -> asyncio.Future[list[Row] | None]:
        self._arrival.clear()
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, next, self._blocks, None)
        reading.add_done_callback(lambda _: self._arrival.set())
        return reading


def _is_end(reading: asyncio.Future[list[Row] | None] | None) -> bool:
    """Tell whether what was read is the end of the input."""
    if reading is None or not reading.done() or reading.cancelled() or reading.exception():
        return False
    return reading.result() is None
