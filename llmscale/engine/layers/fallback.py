"""Fallback models, where the model of a row can't answer: only as the configuration says.

A model can't answer when its endpoints are exhausted: they fail, or cool down for long. A request
that is refused for its content is not sent to a fallback. The reply names the model that answered.
"""

import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from llmscale.core.asked_row import AskedRow
from llmscale.core.protocols import Answers
from llmscale.core.records import Request
from llmscale.engine.layers.replacement import FailedTry, answer_or_replace

log = logging.getLogger(__name__)


class FallbackLayer:
    """Asks the fallbacks of a model in their order."""

    def __init__(self, inner: Answers, fallbacks: Mapping[str, Sequence[str]]) -> None:
        """`fallbacks`: for a model, those that answer when it can't."""
        self._inner = inner
        self._fallbacks = fallbacks

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Deliver the first reply of each row, or the failure of the last fallback.

        Either has all attempts. Raises `JobError`.
        """
        await answer_or_replace(self._inner, rows, self._next)

    def _next(self, tried: FailedTry) -> Request | None:
        fallbacks = self._fallbacks.get(tried.first.model, ())
        if not tried.error.failure.retryable or tried.earlier == len(fallbacks):
            return None
        model = fallbacks[tried.earlier]
        log.debug(
            "%s can't answer (%s); falling back to %s", tried.request.model, tried.error, model
        )
        return replace(tried.request, model=model)
