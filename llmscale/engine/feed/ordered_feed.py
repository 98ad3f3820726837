"""Rows in the order of the input, one block ahead of the work and no further."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Literal

from llmscale.core.records import Outcome, Row


class OrderedFeed:
    """Hands out rows, and has the next block read while the last is worked on."""

    def __init__(self, blocks: Iterator[list[Row]]) -> None:
        self._blocks = blocks
        self._rows: list[Row] = []  # of one block
        self._at = 0  # the next of them
        self._ahead: asyncio.Future[list[Row] | None] | None = None
        self._ended = False

    @property
    def waits_for(self) -> Literal["reading"]:
        """What keeps the next row: it is being read."""
        return "reading"

    @property
    def has_ended(self) -> bool:
        """Tell whether it is known that no further row will come."""
        return self._at == len(self._rows) and (self._ended or _is_end(self._ahead))

    async def take(self, max_rows: int) -> Sequence[Row]:
        """Return the next rows, of one block; none at the end."""
        while self._at == len(self._rows) and not self._ended:
            if self._ahead is None:
                self._ahead = self._read()
            self._take(await self._ahead)
        first = self._at
        self._at = min(first + max_rows, len(self._rows))
        return self._rows[first : self._at]

    def reconcile(self, outcome: Outcome) -> None:
        """Do nothing: the next row does not depend on this one."""

    def stop(self) -> None:
        """Do nothing: only the input is waited for."""

    def _take(self, block: list[Row] | None) -> None:
        if block is None:
            self._ended = True
            return
        self._rows, self._at = block, 0
        self._ahead = self._read()

    def _read(self) -> asyncio.Future[list[Row] | None]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, next, self._blocks, None)


def _is_end(reading: asyncio.Future[list[Row] | None] | None) -> bool:
    """Tell whether what was read is the end of the input."""
    if reading is None or not reading.done() or reading.cancelled() or reading.exception():
        return False
    return reading.result() is None
