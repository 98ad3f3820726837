"""Texts that are too long for the model, cut until they fit: only where that was asked for."""

from collections.abc import Sequence

from msgspec.structs import replace

from llmscale.core.errors import CallFailed
from llmscale.core.protocols import Answers, Settle
from llmscale.core.records import Reply, Request
from llmscale.engine.layers.replacement import answer_or_replace

KEPT = 0.75  # of a text, at each cut
MAX_CUTS = 16  # then a text has a hundredth of its length


class TruncationLayer:
    """Asks again with less of a text. The reply says that it was cut: `finish_reason` length."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Settle each request with the reply to as much of its text as fits. Raises `JobError`."""
        cut: set[int] = set()

        def shorter(
            position: int, request: Request, cuts: int, error: CallFailed
        ) -> Request | None:
            if error.failure.kind != "context_length" or cuts == MAX_CUTS:
                return None
            cut.add(position)
            text = request.text or ""
            return replace(request, text=text[: int(len(text) * KEPT)])

        def settled(position: int, result: Reply | Exception) -> None:
            if position in cut and isinstance(result, Reply):
                result = replace(result, finish_reason="length")
            settle(position, result)

        await answer_or_replace(self._inner, requests, settled, shorter)
