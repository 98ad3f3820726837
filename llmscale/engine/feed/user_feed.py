"""Rows user by user, where users have limits: a user who has to wait delays nobody else.

A row is handed out only when its user may go, so that waiting users take no slot of the rows in
flight. Rows for which there is no space stay in the input and are read in a further pass; the rows
of a user then go in the order in which they were found. Standard input that streams to standard
output can't be read twice: there a full queue makes the reader wait, and users whose rows come
after those of greedy ones wait with it.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

from llmscale.core.errors import StorageError
from llmscale.core.records import Outcome, Row
from llmscale.engine.feed.fair_queue import LOOKAHEAD, FairQueue, RateLimiters
from llmscale.engine.feed.input_passes import InputPasses, Read

LOW_WATER = 50  # rows of a user; then more are looked for, so that none runs dry while it is read


class UserLimiters(RateLimiters, Protocol):
    """The limits of users, which change with what becomes of their rows."""

    def reconcile(self, outcome: Outcome) -> None:
        """Replace what a row was thought to take by what it took."""
        ...


class UserFeed:
    """Hands out rows in turn among the users that may go."""

    def __init__(
        self, read: Read, users: UserLimiters, rows: int | None, max_rows: int = LOOKAHEAD
    ) -> None:
        """`rows` of the input; None: it can be read only once."""
        self._users = users
        self._queue = FairQueue(users, max_rows)
        self._passes = InputPasses(read, rows)
        self._blocks: Iterator[list[Row]] | None = self._passes.open()
        self._ahead: asyncio.Future[list[Row] | None] | None = None
        self._found: deque[Row] = deque()  # of the last block, not yet taken or left
        self._changed = asyncio.Event()
        self._stopped = False

    @property
    def waits_for(self) -> Literal["users", "reading"]:
        """What keeps the next row: the users whose rows are here, or the reading of more."""
        return "users" if self._queue else "reading"

    @property
    def has_ended(self) -> bool:
        """Tell whether it is known that no further row will come."""
        return self._is_at_end

    async def take(self, max_rows: int) -> Sequence[Row]:
        """Return rows of the users who may go, in turn; none at the end or after `stop`."""
        while not self._stopped:
            self._changed.clear()
            rows = self._picked(max_rows)
            if rows or self._is_at_end:
                return rows
            await self._change()
        return ()

    def reconcile(self, outcome: Outcome) -> None:
        """Give back what was not used, which may let a user go sooner."""
        self._users.reconcile(outcome)
        if self._queue.reconsider(outcome.row.user, asyncio.get_running_loop().time()):
            self._changed.set()

    def stop(self) -> None:
        """Hand out nothing more; whoever waits gets no row, at once."""
        self._stopped = True
        self._changed.set()

    @property
    def _is_at_end(self) -> bool:
        return self._blocks is None and not self._queue

    def _picked(self, max_rows: int) -> list[Row]:
        rows: list[Row] = []
        try:
            while len(rows) < max_rows and (row := self._pick()) is not None:
                rows.append(row)
        except StorageError:
            if not rows:  # else it is raised the next time
                raise
        return rows

    def _pick(self) -> Row | None:
        if self._stopped:
            return None
        self._fill()
        row = self._queue.pop(asyncio.get_running_loop().time())
        if row is not None and self._queue.rows_of(row.user) in (0, LOW_WATER):
            self._passes.miss(row.user)
        return row

    async def _change(self) -> None:
        """Wait until a user may go, a block is read, something was given back, or the stop."""
        try:
            async with asyncio.timeout_at(self._queue.next_at_s()):
                await self._changed.wait()
        except TimeoutError:
            return

    def _fill(self) -> None:
        """Park the rows that fit, as far as they are read."""
        while self._found or self._find():
            row = self._found[0]
            fits = self._queue.has_space(row.user) or not self._passes.can_leave
            if self._queue.is_full or not (fits or self._passes.looks_further):
                return
            self._found.popleft()
            if fits:
                self._passes.take(row)
                self._queue.park(row)
            else:
                self._passes.leave(row)

    def _find(self) -> bool:
        """Take over the block that was read, and have the next one read; tell whether there was."""
        if self._ahead is None:
            self._ahead = self._read()
        if self._ahead is None or not self._ahead.done():
            return False
        if self._queue and self._ahead.exception() is not None:
            return False  # it is raised after what was read
        block = self._ahead.result()
        if block is None:  # the rows of this pass are all taken or left
            self._blocks = self._passes.open()
        else:
            self._found.extend(block)
        self._ahead = self._read()
        return bool(self._found)

    def _read(self) -> "asyncio.Future[list[Row] | None] | None":
        if self._blocks is None:
            return None
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, next, self._blocks, None)
        reading.add_done_callback(self._note_read)
        return reading

    def _note_read(self, reading: "asyncio.Future[list[Row] | None]") -> None:
        """Go on at once where users are looked for; how fast does not depend on the rows' pace."""
        if reading.cancelled() or self._stopped:
            return
        if reading.exception() is None and self._passes.looks_further:
            self._fill()
        self._changed.set()
