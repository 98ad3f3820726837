"""Rows that failed and are asked again in another way; which, the layer that wants it says."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from llmscale.core.errors import CallFailed
from llmscale.core.protocols import Answers, Settle
from llmscale.core.records import Reply, Request

Replace = Callable[[int, Request, int, CallFailed], Request | None]
"""What to ask for the row at a position, whose request failed after so many others had; None where
nothing else would help.
"""


async def answer_or_replace(
    inner: Answers, requests: Sequence[Request], settle: Settle, again: Replace
) -> None:
    """Settle each request with the first reply, or with what the last try has met.

    Either has the attempts of all tries. Raises `JobError`.
    """
    asked = list(requests)
    attempts: list[list[int]] = [[] for _ in requests]  # of the tries that failed
    async with asyncio.TaskGroup() as group:

        def settled(position: int, result: Reply | Exception) -> None:
            earlier = attempts[position]
            if isinstance(result, CallFailed):
                request = again(position, asked[position], len(earlier), result)
                if request is not None:
                    asked[position] = request
                    earlier.append(result.attempts)
                    group.create_task(
                        inner.answer_all([request], lambda _, end: settled(position, end))
                    )
                    return
            settle(position, _with_attempts(result, sum(earlier)))

        await inner.answer_all(requests, settled)


def _with_attempts(result: Reply | Exception, earlier: int) -> Reply | Exception:
    """Return a result with the attempts that were made before it."""
    if not earlier:
        return result
    if isinstance(result, CallFailed):
        return CallFailed(result.failure, earlier + result.attempts)
    return (
        replace(result, attempts=earlier + result.attempts) if isinstance(result, Reply) else result
    )
