"""Another model where the one that was asked for can't answer: only as the configuration says.

A model can't answer when its endpoints are exhausted: they fail, or rest for long. A request that
is refused for what it says is not asked elsewhere. The answer is another model's, and says so.
"""

import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from llmscale.contracts import Answers
from llmscale.errors import CallFailed
from llmscale.records import Reply, Request

log = logging.getLogger(__name__)


class Fallback:
    """Asks the models that stand in for another one, in their order."""

    def __init__(self, inner: Answers, stand_ins: Mapping[str, Sequence[str]]) -> None:
        """`stand_ins`: for a model, those that answer when it can't."""
        self._inner = inner
        self._stand_ins = stand_ins

    async def answer(self, request: Request) -> Reply:
        """Return the first answer, with all attempts. Raises what the last model has met."""
        attempts = 0
        stand_ins = iter(self._stand_ins.get(request.model, ()))
        while True:
            try:
                reply = await self._inner.answer(request)
            except CallFailed as error:
                attempts += error.attempts
                model = next(stand_ins, None) if error.failure.retryable else None
                if model is None:
                    raise CallFailed(error.failure, attempts) from None
                log.debug("%s can't answer (%s); %s is asked", request.model, error, model)
                request = replace(request, model=model)
            else:
                return replace(reply, attempts=attempts + reply.attempts) if attempts else reply
