"""How large a row is in a batch: tokens by an estimate that learns, bytes as they are sent."""

from collections.abc import Sequence

from llmscale.accounting.tokens import TokenEstimate
from llmscale.core.records import Reply, Request


class TextWeights:
    """Weighs the texts of one model, and learns from what its calls have taken."""

    def __init__(self) -> None:
        self._estimate = TokenEstimate()

    def of(self, request: Request) -> tuple[int, int]:
        """Return tokens and bytes."""
        text = request.text or ""
        size_bytes = len(text) if text.isascii() else len(text.encode())
        return self._estimate.of_text(text), size_bytes

    def learn(self, requests: Sequence[Request], replies: Sequence[Reply]) -> None:
        """Correct the estimate by a call. What a text alone has taken is no more than a guess."""
        characters = sum(len(request.text or "") for request in requests)
        self._estimate.learn_ratio(characters, sum(reply.usage.input_tokens for reply in replies))
