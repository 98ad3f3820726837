"""Which rows go out together: each joins the fullest batch that still takes it.

Several batches of a model gather at once where texts differ much in length, so that a long one does
not send away a batch that short ones would have filled. All of them together hold no more rows than
one full batch has: the batches that gather never keep the calls from having rows.
"""

import asyncio
from typing import NamedTuple

import msgspec

from llmscale.core.asked_row import AskedRow, Result


class BatchCaps(NamedTuple):
    """When a batch is full. A row that is above a cap by itself is a batch by itself."""

    items: int = 50
    tokens: int = 100_000
    size_bytes: int = 1_000_000
    wait_s: float = 1.0  # after the first row came


class OpenRows:
    """The rows of one `answer_all` that have no result yet; its caller waits for the last."""

    __slots__ = ("_ended", "_left")

    def __init__(self, rows: int) -> None:
        self._left = rows
        self._ended: asyncio.Event | None = None  # set by the last result

    def receive(self, row: AskedRow, result: Result) -> None:
        """Deliver a result, unless the caller has given up."""
        if not self._left:
            return
        self._left -= 1
        row.deliver(result)
        if self._ended is not None and not self._left:
            self._ended.set()

    async def end(self) -> None:
        """Return when all rows have a result; a caller that is cancelled first gives up."""
        if not self._left:
            return
        self._ended = asyncio.Event()
        try:
            await self._ended.wait()
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Deliver nothing more."""
        self._left = 0


class Item(msgspec.Struct, eq=False):
    """A row in a batch."""

    row: AskedRow
    tokens: int
    size_bytes: int
    is_delivered: bool = False

    def deliver(self, result: Result) -> None:
        """Deliver the first result of the row; ignore further ones."""
        if not self.is_delivered:
            self.is_delivered = True
            self.row.deliver(result)


class Batch:
    """Rows that go out together."""

    __slots__ = ("_caps", "closed", "items", "size_bytes", "tokens")

    def __init__(self, caps: BatchCaps) -> None:
        self._caps = caps
        self.items: list[Item] = []
        self.tokens = 0
        self.size_bytes = 0
        self.closed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Tell whether no row at all could be added."""
        caps = self._caps
        return (
            len(self.items) >= caps.items
            or self.tokens >= caps.tokens
            or self.size_bytes >= caps.size_bytes
        )

    @property
    def fill(self) -> float:
        """The share of the cap that it is closest to."""
        caps = self._caps
        fill = max(
            len(self.items) / caps.items,
            self.tokens / caps.tokens,
            self.size_bytes / caps.size_bytes,
        )
        return min(1.0, fill)

    def takes(self, item: Item) -> bool:
        """Tell whether a batch that is not full can take this row too."""
        return (
            self.tokens + item.tokens <= self._caps.tokens
            and self.size_bytes + item.size_bytes <= self._caps.size_bytes
        )

    def add(self, item: Item) -> None:
        """Take in a row; the first one comes in however large it is."""
        self.items.append(item)
        self.tokens += item.tokens
        self.size_bytes += item.size_bytes


class OpenBatches:
    """The batches of one model that take rows."""

    def __init__(self, caps: BatchCaps) -> None:
        self._caps = caps
        self._batches: list[Batch] = []
        self._rows = 0  # in all of them

    def put(self, item: Item) -> Batch:
        """Add a row to the batch where the least space is left for others, and return that batch.

        Closes it when it is full, and the fullest when the batches have as many rows as one may.
        """
        batch: Batch | None = None
        for other in self._batches:
            if other.takes(item) and (batch is None or other.fill > batch.fill):
                batch = other
        if batch is None:
            batch = Batch(self._caps)
            self._batches.append(batch)
        batch.add(item)
        self._rows += 1
        if batch.is_full:
            self.close(batch)
        elif self._rows >= self._caps.items:
            self.close(max(self._batches, key=lambda batch: batch.fill))
        return batch

    def close(self, batch: Batch) -> None:
        """Let a batch go out, if it is not out already."""
        if not batch.closed.is_set():
            self._batches.remove(batch)
            self._rows -= len(batch.items)
            batch.closed.set()

    def close_all(self) -> None:
        """Let all batches go out."""
        for batch in list(self._batches):
            self.close(batch)
