"""Vectors of the length 1, whatever the model's have: above the cache, which keeps the model's."""

from msgspec.structs import replace

from llmscale.contracts import Answers
from llmscale.records import Reply, Request
from llmscale.vectors import normalized


class Normalized:
    """Changes the length of each vector and nothing else."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner

    async def answer(self, request: Request) -> Reply:
        """Return the reply with its vector at length 1. Raises what a call does."""
        reply = await self._inner.answer(request)
        return replace(reply, vector=normalized(reply.vector)) if reply.vector else reply
