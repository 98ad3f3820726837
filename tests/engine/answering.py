"""Layers asked for rows, and layers that answer each row as a coroutine says."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from llmscale.core.asked_row import AskedRow, Result
from llmscale.core.errors import CallFailed, CallStopped, first_error
from llmscale.core.protocols import Answers
from llmscale.core.records import Reply, Request


async def answer(layer: Answers, request: Request) -> Reply:
    """Ask for one row; return its reply, or raise what it has met in its place."""
    (result,) = await ends(layer, [request])
    if isinstance(result, Exception):
        raise result
    return result


async def ends(layer: Answers, requests: Sequence[Request]) -> list[Result]:
    """Ask for rows in one call; return the result of each, and insist that each has one.

    Raises what stops the job, alone.
    """
    delivered = Delivered()
    try:
        await layer.answer_all(delivered.rows(requests))
    except ExceptionGroup as errors:
        raise first_error(errors) from None
    assert sorted(delivered.by_position) == list(range(len(requests)))
    return [delivered.by_position[position] for position in range(len(requests))]


class Delivered:
    """Asks rows, notes their results by position, and accepts one result of each."""

    def __init__(self) -> None:
        self.by_position: dict[int, Result] = {}  # in the order in which they came
        self._positions: dict[AskedRow, int] = {}

    def rows(self, requests: Sequence[Request]) -> list[AskedRow]:
        """Return a row for each request, numbered from 0."""
        rows = [AskedRow(request, self) for request in requests]
        self._positions = {row: position for position, row in enumerate(rows)}
        self._requests = list(requests)
        return rows

    def receive(self, row: AskedRow, result: Result) -> None:
        position = self._positions[row]
        assert position not in self.by_position, "delivered twice"
        assert row.request is self._requests[position], "a layer restores what it replaces"
        self.by_position[position] = result

    @property
    def order(self) -> list[int]:
        """Positions in the order in which their results came."""
        return list(self.by_position)


class RowByRow(ABC):
    """An `Answers` whose rows have nothing in common: each is what `answer` makes of it."""

    @abstractmethod
    async def answer(self, request: Request) -> Reply:
        """Return a reply. What is of this row alone is delivered, all else raised as it is."""

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Answer all at the same time."""
        if len(rows) == 1:
            await self._answer(rows[0])
            return
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(self._answer(row))

    async def _answer(self, row: AskedRow) -> None:
        try:
            reply = await self.answer(row.request)
        except (CallFailed, CallStopped) as error:
            row.deliver(error)
        else:
            row.deliver(reply)
