"""How large a row is in a batch: tokens by the estimate of its model, bytes as they are sent."""

from llmscale.accounting.tokens import TokenEstimates, input_bytes
from llmscale.core.records import Request


class TextWeights:
    """Weighs texts. The layer that sends them teaches the estimates."""

    def __init__(self, estimates: TokenEstimates) -> None:
        self._estimates = estimates

    def of(self, request: Request) -> tuple[int, int]:
        """Return tokens and bytes."""
        size_bytes = input_bytes(request)
        return self._estimates[request.model].of_bytes(size_bytes), size_bytes
