"""Vectors of length 1. Above the cache, which stores the vectors as the model returned them."""

from collections.abc import Sequence

from msgspec.structs import replace

from llmscale.core.asked_row import AskedRow, Result
from llmscale.core.protocols import Answers
from llmscale.core.records import Reply
from llmscale.core.vectors import normalized


class NormalizationLayer:
    """Changes the length of each vector and nothing else."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Deliver each vector at length 1. Raises `JobError`."""
        for row in rows:
            row.through(self)
        await self._inner.answer_all(rows)

    def receive(self, row: AskedRow, result: Result) -> None:
        """Deliver a result with its vector normalized."""
        if isinstance(result, Reply) and result.vector:
            result = replace(result, vector=normalized(result.vector))
        row.deliver(result)
