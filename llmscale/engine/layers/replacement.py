"""Rows that failed and are retried with another request; which one, the layer says."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from llmscale.core.asked_row import AskedRow, Result
from llmscale.core.errors import CallFailed
from llmscale.core.protocols import Answers
from llmscale.core.records import Reply, Request


class FailedTry(NamedTuple):
    """A request that failed."""

    first: Request  # of this row
    request: Request  # that failed now
    earlier: int  # requests of this row that failed before it
    error: CallFailed


Replace = Callable[[FailedTry], Request | None]
"""Returns the request to send in place of the one that failed; None: the row fails."""

Mark = Callable[[Reply], Reply]
"""Returns the reply to a replaced request as it is delivered."""


async def answer_or_replace(
    inner: Answers,
    rows: Sequence[AskedRow],
    replacement: Replace,
    mark: Mark = lambda reply: reply,
) -> None:
    """Deliver each row's first reply, or the failure of its last try.

    Either has the attempts of all tries. Raises `JobError`.
    """
    async with asyncio.TaskGroup() as group:
        receiver = _Retrying(inner, group, replacement, mark)
        for row in rows:
            row.through(receiver)
        await inner.answer_all(rows)


class _Retrying:
    """Receives the results of rows, and retries those that have a replacement."""

    def __init__(
        self, inner: Answers, group: asyncio.TaskGroup, replacement: Replace, mark: Mark
    ) -> None:
        self._inner = inner
        self._group = group
        self._replacement = replacement
        self._mark = mark
        self._tries: dict[AskedRow, _Tries] = {}  # of rows that failed before

    def receive(self, row: AskedRow, result: Result) -> None:
        if isinstance(result, CallFailed) and self._retries(row, result):
            return
        tries = self._tries.pop(row, None)
        if tries is not None:
            row.request = tries.first
            result = self._of_all(tries, result)
        row.deliver(result)

    def _retries(self, row: AskedRow, error: CallFailed) -> bool:
        tries = self._tries.get(row) or _Tries(row.request)
        request = self._replacement(FailedTry(tries.first, row.request, len(tries.attempts), error))
        if request is None:
            return False
        tries.attempts.append(error.attempts)
        self._tries[row] = tries
        row.request = request
        row.through(self)
        self._group.create_task(self._inner.answer_all([row]))
        return True

    def _of_all(self, tries: "_Tries", result: Result) -> Result:
        """Return a result with the attempts of the tries that failed before it."""
        earlier = sum(tries.attempts)
        if isinstance(result, CallFailed):
            return CallFailed(result.failure, earlier + result.attempts)
        if isinstance(result, Reply):
            return self._mark(replace(result, attempts=earlier + result.attempts))
        return result


class _Tries:
    """The failed tries of one row."""

    __slots__ = ("attempts", "first")

    def __init__(self, first: Request) -> None:
        self.first = first
        self.attempts: list[int] = []  # of each
