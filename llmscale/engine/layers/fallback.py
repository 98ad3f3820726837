"""Another model where the one that was asked for can't answer: only as the configuration says.

A model can't answer when its endpoints are exhausted: they fail, or rest for long. A request that
is refused for what it says is not asked elsewhere. The answer is another model's, and says so.
"""

import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from llmscale.core.errors import CallFailed
from llmscale.core.protocols import Answers, Settle
from llmscale.core.records import Request
from llmscale.engine.layers.replacement import answer_or_replace

log = logging.getLogger(__name__)


class FallbackLayer:
    """Asks the models that stand in for another one, in their order."""

    def __init__(self, inner: Answers, fallbacks: Mapping[str, Sequence[str]]) -> None:
        """`fallbacks`: for a model, those that answer when it can't."""
        self._inner = inner
        self._fallbacks = fallbacks

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Settle each request with the first answer, or with what the last model has met.

        Either has all attempts. Raises `JobError`.
        """

        def elsewhere(
            position: int, request: Request, failed: int, error: CallFailed
        ) -> Request | None:
            fallbacks = self._fallbacks.get(requests[position].model, ())
            if not error.failure.retryable or failed == len(fallbacks):
                return None
            model = fallbacks[failed]
            log.debug("%s can't answer (%s); %s is asked", request.model, error, model)
            return replace(request, model=model)

        await answer_or_replace(self._inner, requests, settle, elsewhere)
