"""The layer that asks once: a stored answer, an answer on its way, or a call.

Above batching and limits, so that a hit takes no permit. Identical requests in flight make one
call and answer every row; when the row that asks fails or is given up, another of them asks.
Answers that are cut, empty or failed are never stored.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from llmscale.accounting.stats import Stats
from llmscale.core.choices import CacheMode
from llmscale.core.errors import JobError, first_error
from llmscale.core.protocols import Answers, Settle
from llmscale.core.records import Reply, Request
from llmscale.engine.cache.entry import Entry
from llmscale.engine.cache.keys import fingerprint, key_of


class CacheBackend(Protocol):
    """Where replies are kept, on this disk or elsewhere. It fails by missing, never by raising."""

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Entry]:
        """Return the entries of keys; those that are not there, or can't be used, are left out."""
        ...

    def put(self, key: str, entry: Entry, model: str) -> None:
        """Take over an entry; from now on `get_many` finds it."""
        ...

    def when_safe(self, then: Callable[[], None]) -> None:
        """Call back when all that was put until now is safe, or is known not to get there.

        At once where it is already; else from the event loop.
        """
        ...


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
        self._flights: dict[str, _Flight] = {}

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Settle each request, with a reply that is marked where it was not paid for by this row.

        Raises `JobError`.
        """
        led: dict[str, int] = {}  # position by key: this row answers for all who come
        waiting: list[tuple[_Told, int]] = []
        for position, request in enumerate(requests):
            try:
                key = key_of(request)
            except Exception as error:  # a fault of ours: the rows beside this one go on
                settle(position, error)
                continue
            flight = self._flights.get(key)
            if flight is None:
                self._flights[key] = _Flight()
                led[key] = position
            else:
                waiting.append((flight.told(), position))
        if not waiting:
            await self._lead(led, requests, settle)
            return
        async with asyncio.TaskGroup() as group:
            for told, position in waiting:
                group.create_task(self._follow(told, requests[position], position, settle))
            await self._lead(led, requests, settle)

    async def _follow(self, told: "_Told", request: Request, position: int, settle: Settle) -> None:
        """Wait for another row's answer; where there is none, this row or the next asks."""
        shared = await asyncio.shield(told)
        if isinstance(shared, JobError):
            raise shared
        if shared is None:
            await self.answer_all([request], lambda _, result: settle(position, result))
        elif shared.cached:
            settle(position, shared)
        else:
            settle(position, replace(shared, deduped=True, attempts=0))

    async def _lead(self, led: dict[str, int], requests: Sequence[Request], settle: Settle) -> None:
        """Look up and ask, for these rows and for all who wait for them."""

        def end(key: str, result: Reply | Exception) -> None:
            position = led.pop(key)
            self._flights.pop(key).end(result if isinstance(result, Reply) else None)
            settle(position, result)

        try:
            if self._looks_up:
                await self._look_up(led, requests, end)
            if led:
                await self._ask(led, requests, end)
        except Exception as error:
            refused = first_error(error)
            if isinstance(refused, JobError):  # nobody who waits would fare better
                for key in led:
                    self._flights.pop(key).end(refused)
                led.clear()
            raise
        finally:
            for key in led:
                self._flights.pop(key).end(None)

    async def _look_up(
        self, led: Mapping[str, int], requests: Sequence[Request], end: "_End"
    ) -> None:
        entries = await self._replies.get_many(led.keys())
        for key, position in list(led.items()):
            entry = entries.get(key)
            self._stats.add_lookup(requests[position].model, hit=entry is not None)
            if entry is not None:
                end(key, replace(entry.reply, cached=True, attempts=0))

    async def _ask(self, led: Mapping[str, int], requests: Sequence[Request], end: "_End") -> None:
        keys = list(led)
        asked = [requests[position] for position in led.values()]

        def settled(position: int, result: Reply | Exception) -> None:
            if self._stores and isinstance(result, Reply) and is_storable(result):
                request = asked[position]
                entry = Entry(result, time.time(), fingerprint(request))
                self._replies.put(keys[position], entry, request.model)
            end(keys[position], result)

        await self._inner.answer_all(asked, settled)


_End = Callable[[str, Reply | Exception], None]


_Told = asyncio.Future[Reply | JobError | None]


class _Flight:
    """A request that is being answered, and those who wait for the answer."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: _Told | None = None  # for who waits

    def told(self) -> _Told:
        """Return what will hold the reply, None where the row that asked has none.

        To be taken before the flight ends, which may be before who waits has begun to.
        """
        if self._told is None:
            self._told = asyncio.get_running_loop().create_future()
        return self._told

    def end(self, reply: Reply | JobError | None) -> None:
        """Tell who waits."""
        if self._told is not None:
            self._told.set_result(reply)


def is_storable(reply: Reply) -> bool:
    """Tell whether a reply is worth what it cost: whole, and not empty."""
    says_something = reply.text or reply.tool_calls or reply.vector
    return reply.finish_reason in ("stop", "tool_calls") and bool(says_something)
