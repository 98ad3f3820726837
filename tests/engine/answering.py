"""Layers asked for rows, and layers that answer each row as a coroutine says."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from llmscale.core.errors import CallFailed, CallStopped, first_error
from llmscale.core.protocols import Answers, Settle
from llmscale.core.records import Reply, Request


async def answer(layer: Answers, request: Request) -> Reply:
    """Ask for one row; return its reply, or raise what it has met in its place."""
    (result,) = await ends(layer, [request])
    if isinstance(result, Exception):
        raise result
    return result


async def ends(layer: Answers, requests: Sequence[Request]) -> list[Reply | Exception]:
    """Ask for rows together; return what each has come to, and insist that it did so once.

    Raises what stops the job, alone.
    """
    settled = Settled()
    try:
        await layer.answer_all(requests, settled)
    except ExceptionGroup as errors:
        raise first_error(errors) from None
    assert sorted(settled.by_position) == list(range(len(requests)))
    return [settled.by_position[position] for position in range(len(requests))]


class Settled:
    """A `Settle` that takes note, and accepts of each row one end only."""

    def __init__(self) -> None:
        self.by_position: dict[int, Reply | Exception] = {}  # in the order in which they came

    def __call__(self, position: int, result: Reply | Exception) -> None:
        assert position not in self.by_position, "settled twice"
        self.by_position[position] = result

    @property
    def order(self) -> list[int]:
        """Positions in the order in which they were settled."""
        return list(self.by_position)


class RowByRow(ABC):
    """An `Answers` whose rows have nothing in common: each is what `answer` makes of it."""

    @abstractmethod
    async def answer(self, request: Request) -> Reply:
        """Return a reply. What is of this row alone is settled, all else raised as it is."""

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Answer all at the same time."""
        if len(requests) == 1:
            await self._answer(0, requests[0], settle)
            return
        async with asyncio.TaskGroup() as group:
            for position, request in enumerate(requests):
                group.create_task(self._answer(position, request, settle))

    async def _answer(self, position: int, request: Request, settle: Settle) -> None:
        try:
            reply = await self.answer(request)
        except (CallFailed, CallStopped) as error:
            settle(position, error)
        else:
            settle(position, reply)
