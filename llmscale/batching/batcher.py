"""Many rows a call: rows gather in lots until one is full, or until its first row has waited.

The first row of a lot sends it for all of them, so there are no tasks but those of rows, and as
many lots in flight as the layers below let out. A lot that is refused for what is in it is halved
until the bad row stands alone. Every row is settled, whatever becomes of its lot.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from llmscale.batching.lots import Item, Lot, LotCaps, OpenLots
from llmscale.contracts import Sends
from llmscale.errors import CallFailed, CallStopped, LlmscaleError
from llmscale.records import Failure, FailureKind, Reply, Request
from llmscale.stats import Stats

LAST_WAIT_S = 0.02  # once the input has ended, for rows that are on their way here

_DIVISIBLE: frozenset[FailureKind] = frozenset(
    {"invalid_request", "context_length", "content_filter"}
)


class Weighs(Protocol):
    """Says how large a row is."""

    def of(self, request: Request) -> tuple[int, int]:
        """Return tokens and bytes."""
        ...

    def learn(self, requests: Sequence[Request], replies: Sequence[Reply]) -> None:
        """Take note of what a call has taken."""
        ...


class Batcher:
    """Answers rows by lots of one model each."""

    def __init__(self, sends: Sends, caps: LotCaps, weights: Weighs, stats: Stats) -> None:
        self._sends = sends
        self._caps = caps
        self._weights = weights
        self._stats = stats
        self._open: dict[str, OpenLots] = {}  # by model
        self._wait_s = caps.wait_s
        self._loop = asyncio.get_running_loop()  # a system call, so not for each row

    def end(self) -> None:
        """Note that the input has ended: what is there goes out, and nothing waits long."""
        self._wait_s = LAST_WAIT_S
        for lots in self._open.values():
            lots.close_all()

    async def answer(self, request: Request) -> Reply:
        """Return the reply of one row. Raises what its lot has met, `CallStopped` at a stop."""
        lots = self._open.get(request.model)
        if lots is None:
            lots = self._open[request.model] = OpenLots(self._caps)
        tokens, size_bytes = self._weights.of(request)
        item = Item(request, tokens, size_bytes, self._loop.create_future())
        lot = lots.put(item)
        if lot.items[0] is item:
            await self._lead(lot, lots)
        return await item.settled

    async def _lead(self, lot: Lot, lots: OpenLots) -> None:
        """Wait until the lot is closed and send it. Raises only when this row is given up."""
        try:
            if not lot.closed.is_set():
                try:
                    async with asyncio.timeout(self._wait_s):
                        await lot.closed.wait()
                except TimeoutError:
                    lots.close(lot)
            self._stats.add_lot(len(lot.items), lot.fill)
            await self._send(lot.items)
        finally:
            lots.close(lot)
            lot.items[0].settled.cancel()  # nobody will look at it, if this row was given up
            _settle(lot.items, CallStopped())

    async def _send(self, items: Sequence[Item]) -> None:
        requests = [item.request for item in items]
        try:
            replies = await self._sends.send(requests)
        except CallFailed as error:
            if len(items) > 1 and error.failure.kind in _DIVISIBLE:
                half = len(items) // 2
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send(items[:half]))
                    group.create_task(self._send(items[half:]))
                return
            _settle(items, error)
        except LlmscaleError as error:
            _settle(items, error)
        else:
            if len(replies) != len(items):
                _settle(items, CallFailed(_miscounted(len(items), len(replies))))
                return
            self._weights.learn(requests, replies)
            for item, reply in zip(items, replies, strict=True):
                if not item.settled.done():
                    item.settled.set_result(reply)


def _settle(items: Sequence[Item], error: LlmscaleError) -> None:
    """Raise an error in each row that has no answer yet."""
    for item in items:
        if not item.settled.done():
            item.settled.set_exception(error)


def _miscounted(asked: int, came: int) -> Failure:
    message = f"{asked} texts were sent, and {came} answers came"
    return Failure(kind="bad_response", message=message, retryable=True)
