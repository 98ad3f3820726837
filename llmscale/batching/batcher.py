"""Many rows a call: rows gather in a lot until it is full, or until its first row has waited.

The first row of a lot sends it for all of them, so there are no tasks but those of rows, and as
many lots in flight as the layers below let out. A lot that is refused for what is in it is halved
until the bad row stands alone. Every row is settled, whatever becomes of its lot.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llmscale.contracts import Sends
from llmscale.errors import CallFailed, CallStopped, LlmscaleError
from llmscale.records import Failure, FailureKind, Reply, Request
from llmscale.stats import Stats

LAST_WAIT_S = 0.02  # once the input has ended, for rows that are on their way here

_DIVISIBLE: frozenset[FailureKind] = frozenset(
    {"invalid_request", "context_length", "content_filter"}
)


class LotCaps(NamedTuple):
    """When a lot is full. A row that is above a cap by itself is a lot by itself."""

    items: int = 50
    tokens: int = 100_000
    size_bytes: int = 1_000_000
    wait_s: float = 1.0  # after the first row came


class _Item(NamedTuple):
    """A row in a lot."""

    request: Request
    tokens: int
    size_bytes: int
    settled: "asyncio.Future[Reply]"


class _Lot:
    """Rows that go out together."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        self.tokens = 0
        self.size_bytes = 0
        self.closed = asyncio.Event()

    def add(self, item: _Item) -> None:
        self.items.append(item)
        self.tokens += item.tokens
        self.size_bytes += item.size_bytes

    def takes(self, item: _Item, caps: LotCaps) -> bool:
        return not self.items or (
            len(self.items) < caps.items
            and self.tokens + item.tokens <= caps.tokens
            and self.size_bytes + item.size_bytes <= caps.size_bytes
        )

    def fill(self, caps: LotCaps) -> float:
        """Return the share of the cap that it is closest to."""
        return max(
            len(self.items) / caps.items,
            min(1.0, self.tokens / caps.tokens),
            min(1.0, self.size_bytes / caps.size_bytes),
        )


class Batcher:
    """Answers rows by lots of one model each."""

    def __init__(
        self,
        sends: Sends,
        caps: LotCaps,
        weigh: Callable[[Request], tuple[int, int]],
        stats: Stats,
    ) -> None:
        """`weigh`: the tokens and the bytes of a request."""
        self._sends = sends
        self._caps = caps
        self._weigh = weigh
        self._stats = stats
        self._open: dict[str, _Lot] = {}  # by model
        self._wait_s = caps.wait_s

    def end(self) -> None:
        """Note that the input has ended: what is there goes out, and nothing waits long."""
        self._wait_s = LAST_WAIT_S
        for model in list(self._open):
            self._close(model)

    async def answer(self, request: Request) -> Reply:
        """Return the reply of one row. Raises what its lot has met, `CallStopped` at a stop."""
        tokens, size_bytes = self._weigh(request)
        settled: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        item = _Item(request, tokens, size_bytes, settled)
        lot = self._lot_for(item)
        lot.add(item)
        if len(lot.items) == self._caps.items:
            self._close(request.model)
        if lot.items[0] is item:
            await self._lead(lot)
        return await settled

    def _lot_for(self, item: _Item) -> _Lot:
        model = item.request.model
        lot = self._open.get(model)
        if lot is not None and lot.takes(item, self._caps):
            return lot
        if lot is not None:
            self._close(model)
        lot = self._open[model] = _Lot()
        return lot

    def _close(self, model: str) -> None:
        self._open.pop(model).closed.set()

    async def _lead(self, lot: _Lot) -> None:
        """Wait until the lot is closed and send it. Raises only when this row is given up."""
        try:
            if not lot.closed.is_set():
                try:
                    async with asyncio.timeout(self._wait_s):
                        await lot.closed.wait()
                except TimeoutError:
                    self._close(lot.items[0].request.model)
            self._stats.add_lot(len(lot.items), lot.fill(self._caps))
            await self._send(lot.items)
        finally:
            if not lot.closed.is_set():
                self._close(lot.items[0].request.model)
            _settle(lot.items, CallStopped())  # who is left: this row was given up

    async def _send(self, items: Sequence[_Item]) -> None:
        try:
            replies = await self._sends.send([item.request for item in items])
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
            for item, reply in zip(items, replies, strict=False):
                if not item.settled.done():
                    item.settled.set_result(reply)


def _settle(items: Sequence[_Item], error: LlmscaleError) -> None:
    """Raise an error in each row that has no answer yet."""
    for item in items:
        if not item.settled.done():
            item.settled.set_exception(error)


def _miscounted(asked: int, came: int) -> Failure:
    message = f"{asked} texts were sent, and {came} answers came"
    return Failure(kind="bad_response", message=message, retryable=True)
