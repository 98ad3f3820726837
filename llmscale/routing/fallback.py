"""Another model where the one that was asked for can't answer: only as the configuration says.

A model can't answer when its endpoints are exhausted: they fail, or rest for long. A request that
is refused for what it says is not asked elsewhere. The answer is another model's, and says so.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from llmscale.contracts import Answers, Settle
from llmscale.errors import CallFailed
from llmscale.records import Reply, Request

log = logging.getLogger(__name__)


class Fallback:
    """Asks the models that stand in for another one, in their order."""

    def __init__(self, inner: Answers, stand_ins: Mapping[str, Sequence[str]]) -> None:
        """`stand_ins`: for a model, those that answer when it can't."""
        self._inner = inner
        self._stand_ins = stand_ins

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Settle each request with the first answer, or with what the last model has met.

        Either has all attempts. Raises `JobError`.
        """
        rows = [_Row(request, self._stand_ins.get(request.model, ())) for request in requests]
        async with asyncio.TaskGroup() as elsewhere:

            def settled(position: int, result: Reply | Exception) -> None:
                row = rows[position]
                request = row.elsewhere(result)
                if request is None:
                    settle(position, row.end(result))
                else:
                    elsewhere.create_task(
                        self._inner.answer_all([request], lambda _, end: settled(position, end))
                    )

            await self._inner.answer_all(requests, settled)


class _Row:
    """A request, who is left to be asked, and the attempts that were made."""

    def __init__(self, request: Request, stand_ins: Sequence[str]) -> None:
        self._request = request
        self._stand_ins = iter(stand_ins)
        self._attempts = 0

    def elsewhere(self, result: Reply | Exception) -> Request | None:
        """Return the request to the model that is to answer in the place of the one that failed."""
        if not isinstance(result, CallFailed) or not result.failure.retryable:
            return None
        model = next(self._stand_ins, None)
        if model is None:
            return None
        log.debug("%s can't answer (%s); %s is asked", self._request.model, result, model)
        self._attempts += result.attempts
        self._request = replace(self._request, model=model)
        return self._request

    def end(self, result: Reply | Exception) -> Reply | Exception:
        """Return what the row has come to, with all attempts."""
        if not self._attempts:
            return result
        if isinstance(result, CallFailed):
            return CallFailed(result.failure, self._attempts + result.attempts)
        if isinstance(result, Reply):
            return replace(result, attempts=self._attempts + result.attempts)
        return result
