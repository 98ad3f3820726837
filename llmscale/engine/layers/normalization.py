"""Vectors of the length 1, whatever the model's have: above the cache, which keeps the model's."""

from collections.abc import Sequence

from msgspec.structs import replace

from llmscale.core.protocols import Answers, Settle
from llmscale.core.records import Reply, Request
from llmscale.core.vectors import normalized


class NormalizationLayer:
    """Changes the length of each vector and nothing else."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Settle each request with its vector at length 1. Raises `JobError`."""

        def settled(position: int, result: Reply | Exception) -> None:
            if isinstance(result, Reply) and result.vector:
                result = replace(result, vector=normalized(result.vector))
            settle(position, result)

        await self._inner.answer_all(requests, settled)
