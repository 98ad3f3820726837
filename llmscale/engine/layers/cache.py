"""The layer that asks once: a stored answer, the answer of a call in flight, or a call.

Above batching and limits, so that a hit takes no permit. Identical requests in flight make one
call and answer every row; when the row that asks fails or is cancelled, another of them asks.
Answers that are cut, empty or failed are never stored.
"""

import asyncio
import time
from collections.abc import Sequence

from msgspec.structs import replace

from llmscale.accounting.stats import Stats
from llmscale.core.asked_row import AskedRow, Result
from llmscale.core.cache_records import Entry
from llmscale.core.choices import CacheMode
from llmscale.core.errors import JobError, first_error
from llmscale.core.protocols import Answers, CacheBackend
from llmscale.core.records import Reply, Request
from llmscale.engine.cache.keys import fingerprint, key_of


class CacheLayer:
    """Answers from the store where it can, and makes one call for identical requests in flight."""

    def __init__(
        self, inner: Answers, replies: CacheBackend, stats: Stats, mode: CacheMode = "on"
    ) -> None:
        self._inner = inner
        self._replies = replies
        self._stats = stats
        self._looks_up = mode in ("on", "read")
        self._stores = mode not in ("off", "read")
        self._flights: dict[str, _Flight] = {}  # by key

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Deliver each reply, marked where this row did not pay for it. Raises `JobError`."""
        led: list[_Flight] = []
        waiting: list[tuple[_Shared, AskedRow]] = []
        for row in rows:
            try:
                key = key_of(row.request)
            except Exception as error:  # a fault of ours: the rows beside this one go on
                row.deliver(error)
                continue
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = _Flight(self, key, row)
                led.append(flight)
            else:
                waiting.append((flight.shared(), row))
        if not waiting:
            await self._lead(led)
            return
        async with asyncio.TaskGroup() as group:
            for shared, row in waiting:
                group.create_task(self._follow(shared, row))
            await self._lead(led)

    async def _follow(self, shared: "_Shared", row: AskedRow) -> None:
        """Wait for another row's answer; where there is none, this row or the next asks."""
        reply = await asyncio.shield(shared)
        if isinstance(reply, JobError):
            raise reply
        if reply is None:
            await self.answer_all([row])
        elif reply.cached:
            row.deliver(reply)
        else:
            row.deliver(replace(reply, deduped=True, attempts=0))

    async def _lead(self, led: Sequence["_Flight"]) -> None:
        """Look up and ask, for these rows and for all that wait for them."""
        try:
            if self._looks_up:
                led = await self._missed(led)
            if led:
                for flight in led:
                    flight.row.through(flight)
                await self._inner.answer_all([flight.row for flight in led])
        except Exception as error:
            refused = first_error(error)
            if isinstance(refused, JobError):  # no row that waits would fare better
                self._end(led, refused)
            raise
        finally:
            self._end(led, None)

    async def _missed(self, led: Sequence["_Flight"]) -> Sequence["_Flight"]:
        """Deliver the answers that are stored; return the flights that have none."""
        entries = await self._replies.get_many([flight.key for flight in led])
        missed = []
        for flight in led:
            entry = entries.get(flight.key)
            self._stats.add_lookup(flight.row.request.model, hit=entry is not None)
            if entry is None:
                missed.append(flight)
            else:
                flight.end(replace(entry.reply, cached=True, attempts=0))
        return missed

    def _end(self, flights: Sequence["_Flight"], reason: JobError | None) -> None:
        """End those flights that have no reply."""
        for flight in flights:
            if self._flights.get(flight.key) is flight:
                flight.land(reason)

    def landed(self, flight: "_Flight") -> None:
        """Forget a flight. Raises `KeyError` for one that has landed before."""
        if self._flights.get(flight.key) is not flight:
            raise KeyError(flight.key)
        del self._flights[flight.key]

    def store(self, key: str, request: Request, result: Result) -> None:
        """Store a reply that is worth it."""
        if self._stores and isinstance(result, Reply) and is_storable(result):
            entry = Entry(result, time.time(), fingerprint(request))
            self._replies.put(key, entry, request.model)


_Shared = asyncio.Future[Reply | JobError | None]


class _Flight:
    """A request that is being answered, the row that asks, and the rows that wait."""

    __slots__ = ("_layer", "_shared", "key", "row")

    def __init__(self, layer: CacheLayer, key: str, row: AskedRow) -> None:
        self._layer = layer
        self._shared: _Shared | None = None  # of the rows that wait
        self.key = key
        self.row = row

    def shared(self) -> _Shared:
        """Return what will hold the reply, None where the row that asked has none.

        To be taken before the flight ends, which may be before the row that waits has begun to.
        """
        if self._shared is None:
            self._shared = asyncio.get_running_loop().create_future()
        return self._shared

    def receive(self, row: AskedRow, result: Result) -> None:
        """Store a reply, and deliver it to all."""
        self._layer.store(self.key, row.request, result)
        self.end(result)

    def end(self, result: Result) -> None:
        """Deliver a result to the row that asked, and a reply to those that wait."""
        self.land(result if isinstance(result, Reply) else None)
        self.row.deliver(result)

    def land(self, reply: Reply | JobError | None) -> None:
        """Answer the rows that wait."""
        self._layer.landed(self)
        if self._shared is not None:
            self._shared.set_result(reply)


def is_storable(reply: Reply) -> bool:
    """Tell whether a reply is worth what it cost: whole, and not empty."""
    says_something = reply.text or reply.tool_calls or reply.vector
    return reply.finish_reason in ("stop", "tool_calls") and bool(says_something)
