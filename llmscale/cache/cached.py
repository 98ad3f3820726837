"""The layer that asks once: a stored answer, an answer on its way, or a call.

Above batching and limits, so that a hit takes no permit. Identical requests in flight make one
call and answer every row; when the row that asks fails or is given up, another of them asks.
Answers that are cut, empty or failed are never stored.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal, Protocol

from msgspec.structs import replace

from llmscale.cache.entry import Entry
from llmscale.cache.keys import fingerprint, key_of
from llmscale.contracts import Answers
from llmscale.records import Reply, Request
from llmscale.stats import Stats

CacheMode = Literal["on", "read", "write", "refresh"]
"""on: look up and store; read: look up only; write: store what is not there; refresh: ask anew."""


class ReplyStore(Protocol):
    """Where replies are kept, on this disk or elsewhere. It fails by missing, never by raising."""

    async def get(self, key: str) -> Entry | None:
        """Return an entry, None where there is none, or none that can be used."""
        ...

    def put(self, key: str, entry: Entry, model: str) -> None:
        """Take over an entry; from now on `get` finds it."""
        ...

    def when_safe(self, then: Callable[[], None]) -> None:
        """Call back when all that was put until now is safe, or is known not to get there.

        At once where it is already; else from the event loop.
        """
        ...


class Cached:
    """Answers from the store where it can, and makes one call for identical requests in flight."""

    def __init__(
        self, inner: Answers, replies: ReplyStore, stats: Stats, mode: CacheMode = "on"
    ) -> None:
        self._inner = inner
        self._replies = replies
        self._stats = stats
        self._looks_up = mode in ("on", "read")
        self._stores = mode != "read"
        self._flights: dict[str, asyncio.Future[Reply | None]] = {}

    async def answer(self, request: Request) -> Reply:
        """Return a reply, marked where it was not paid for by this row. Raises what a call does."""
        key = key_of(request)
        while (flight := self._flights.get(key)) is not None:
            shared = await asyncio.shield(flight)
            if shared is not None:
                return shared if shared.cached else replace(shared, deduped=True, attempts=0)
        # from here on this row answers for all who come; without an answer the next of them does
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        reply: Reply | None = None
        try:
            if self._looks_up:
                entry = await self._replies.get(key)
                self._stats.add_lookup(request.model, hit=entry is not None)
                if entry is not None:
                    reply = replace(entry.reply, cached=True, attempts=0)
            if reply is None:
                reply = await self._asked(key, request)
            return reply
        finally:
            del self._flights[key]
            flight.set_result(reply)

    async def _asked(self, key: str, request: Request) -> Reply:
        reply = await self._inner.answer(request)
        if self._stores and is_storable(reply):
            entry = Entry(reply, time.time(), fingerprint(request))
            self._replies.put(key, entry, request.model)
        return reply


def is_storable(reply: Reply) -> bool:
    """Tell whether a reply is worth what it cost: whole, and not empty."""
    says_something = reply.text or reply.tool_calls or reply.vector
    return reply.finish_reason in ("stop", "tool_calls") and bool(says_something)
