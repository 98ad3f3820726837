"""Many rows a call: rows gather in batches until one is full, or until its first row has waited.

Who asks for the first row of a batch sends it for all of them, so as many batches are in flight as
the layers below allow. A batch that fails for what may be the content of one row is halved until
that row stands alone, whatever the status said: what tells a bad row from a bad server is that
others are answered. Every row gets a result, whatever becomes of its batch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from llmscale.accounting.stats import Stats
from llmscale.core.asked_row import AskedRow
from llmscale.core.errors import CallFailed, CallStopped, JobError
from llmscale.core.protocols import Sends
from llmscale.core.records import Failure, FailureKind, Reply, Request
from llmscale.engine.layers.batches import Batch, BatchCaps, Item, OpenBatches, OpenRows

LAST_WAIT_S = 0.02  # once the input has ended, for rows that are still to come here

_OF_CONTENT: frozenset[FailureKind] = frozenset(
    {"invalid_request", "context_length", "content_filter"}
)
_MAY_BE_OF_CONTENT: frozenset[FailureKind] = frozenset({"server_error", "bad_response"})
MAX_UNPROVEN = 2  # how often a batch is halved on suspicion, while nothing at all is answered

SendPart = Callable[[Sequence[Request], int], Awaitable[list[Reply]]]
"""Sends rows that were part of so many calls that may have failed for the content of one row."""


class Weighs(Protocol):
    """Says how large a row is."""

    def of(self, request: Request) -> tuple[int, int]:
        """Return tokens and bytes."""
        ...


class Batcher:
    """Answers rows by batches of one model each."""

    def __init__(
        self,
        sends: Sends,
        caps: BatchCaps,
        weights: Weighs,
        stats: Stats,
        send_part: SendPart | None = None,
    ) -> None:
        """`send_part` None: what may be a row's own is tried again as any other failure is."""
        self._sends = sends
        self._send_part = send_part or (lambda requests, _: sends.send(requests))
        self._answered = 0  # calls
        self._caps = caps
        self._weights = weights
        self._stats = stats
        self._open: dict[str, OpenBatches] = {}  # by model
        self._wait_s = caps.wait_s

    def end(self) -> None:
        """Note that the input has ended: what is there goes out, and nothing waits long."""
        self._wait_s = LAST_WAIT_S
        for batches in self._open.values():
            batches.close_all()

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Deliver to each row its part of the result of its batch. Raises `JobError`."""
        open_rows = OpenRows(len(rows))
        led: list[tuple[Batch, OpenBatches]] = []
        for row in rows:
            row.through(open_rows)
            batches = self._open.get(row.request.model)
            if batches is None:
                batches = self._open[row.request.model] = OpenBatches(self._caps)
            batch = batches.put(Item(row, *self._weights.of(row.request)))
            if len(batch.items) == 1:
                led.append((batch, batches))
        try:
            if len(led) > 1:
                async with asyncio.TaskGroup() as group:
                    for batch, batches in led:
                        group.create_task(self._lead(batch, batches))
                    await open_rows.end()
            else:
                for batch, batches in led:
                    await self._lead(batch, batches)
                await open_rows.end()
        finally:
            open_rows.give_up()

    async def _lead(self, batch: Batch, batches: OpenBatches) -> None:
        """Wait until the batch is closed and send it."""
        was_sent = False
        try:
            if not batch.closed.is_set():
                try:
                    async with asyncio.timeout(self._wait_s):
                        await batch.closed.wait()
                except TimeoutError:
                    batches.close(batch)
            self._stats.add_batch(len(batch.items), batch.fill)
            was_sent = True
            await self._send(batch.items)
        except BaseException as error:
            batches.close(batch)
            stopped = CallStopped(may_be_paid=was_sent and not isinstance(error, JobError))
            # rows whose caller was cancelled with this one ignore it
            asyncio.get_running_loop().call_soon(_deliver, batch.items, stopped)
            raise

    async def _send(self, items: Sequence[Item]) -> None:
        await self._send_divided(_Part(items, failed=0, answered_before=self._answered))

    async def _send_divided(self, part: "_Part") -> None:
        """Send rows, and halve them where one of them may be why they fail."""
        items = part.items
        try:
            replies = await self._replies(part)
        except CallFailed as error:
            if len(items) > 1 and error.failure.kind in _OF_CONTENT | _MAY_BE_OF_CONTENT:
                async with asyncio.TaskGroup() as group:
                    for half in part.halves():
                        group.create_task(self._send_divided(half))
                return
            _deliver(items, error)
        except JobError:
            raise
        except Exception as error:  # a fault of ours too: the other batches go on
            _deliver(items, error)
        else:
            if len(replies) != len(items):
                _deliver(items, CallFailed(_miscounted(len(items), len(replies))))
                return
            self._answered += 1
            for item, reply in zip(items, replies, strict=True):
                item.deliver(reply)

    async def _replies(self, part: "_Part") -> list[Reply]:
        """Return the replies; where nothing is answered any more, it is the server that fails."""
        requests = [item.row.request for item in part.items]
        if part.failed > MAX_UNPROVEN and self._answered == part.answered_before:
            return await self._sends.send(requests)
        return await self._send_part(requests, part.failed)


class _Part(NamedTuple):
    """Rows of one batch that are sent in one call."""

    items: Sequence[Item]
    failed: int  # calls that these rows were part of
    answered_before: int  # calls of all batches, when this batch first went out

    def halves(self) -> Iterator["_Part"]:
        middle = len(self.items) // 2
        for items in (self.items[:middle], self.items[middle:]):
            yield self._replace(items=items, failed=self.failed + 1)


def _deliver(items: Sequence[Item], error: Exception) -> None:
    for item in items:
        item.deliver(error)


def _miscounted(asked: int, came: int) -> Failure:
    message = f"{asked} texts were sent, and {came} answers came"
    return Failure(kind="bad_response", message=message, retryable=True)
