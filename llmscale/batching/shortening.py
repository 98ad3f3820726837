"""Texts that are too long for the model, cut until they fit: only where that was asked for."""

from msgspec.structs import replace

from llmscale.contracts import Answers
from llmscale.errors import CallFailed
from llmscale.records import Reply, Request

KEPT = 0.75  # of a text, at each cut
MAX_CUTS = 16  # then a text has a hundredth of its length


class Shortened:
    """Asks again with less of a text. The reply says that it was cut: `finish_reason` length."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner

    async def answer(self, request: Request) -> Reply:
        """Return the reply to as much of the text as fits. Raises what a call does."""
        attempts = 0
        for cut in range(MAX_CUTS + 1):
            try:
                reply = await self._inner.answer(request)
            except CallFailed as error:
                attempts += error.attempts
                if error.failure.kind != "context_length" or cut == MAX_CUTS:
                    raise CallFailed(error.failure, attempts) from None
                text = request.text or ""
                request = replace(request, text=text[: int(len(text) * KEPT)])
            else:
                reason = "length" if cut else reply.finish_reason
                return replace(reply, finish_reason=reason, attempts=attempts + reply.attempts)
        raise AssertionError("unreachable")
