"""The layer that asks once: a stored answer, an answer on its way, or a call.

Above batching and limits, so that a hit takes no permit. Identical requests in flight make one
call and answer every row; when the row that asks fails or is given up, another of them asks.
Answers that are cut, empty or failed are never stored.
"""

import asyncio
import time
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

    async def put(self, key: str, entry: Entry, model: str) -> None:
        """Return when the entry is safe, or is known not to get there."""
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
            reply = await asyncio.shield(flight)
            if reply is not None:
                return reply if reply.cached else replace(reply, deduped=True, attempts=0)
        return await self._lead(key, request)

    async def _lead(self, key: str, request: Request) -> Reply:
        """Answer for all who come while it lasts; without an answer the next of them leads."""
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        reply: Reply | None = None
        try:
            reply = await self._found(key, request) or await self._asked(key, request)
            return reply
        finally:
            del self._flights[key]
            flight.set_result(reply)

    async def _found(self, key: str, request: Request) -> Reply | None:
        if not self._looks_up:
            return None
        entry = await self._replies.get(key)
        self._stats.add_lookup(request.model, hit=entry is not None)
        return replace(entry.reply, cached=True, attempts=0) if entry is not None else None

    async def _asked(self, key: str, request: Request) -> Reply:
        reply = await self._inner.answer(request)
        if self._stores and is_storable(reply):
            entry = Entry(reply, time.time(), fingerprint(request))
            await self._replies.put(key, entry, request.model)
        return reply


def is_storable(reply: Reply) -> bool:
    """Tell whether a reply is worth what it cost: whole, and not empty."""
    return reply.finish_reason in ("stop", "tool_calls") and bool(reply.text or reply.tool_calls)
