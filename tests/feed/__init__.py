"""Rows of users, virtual time, and workers that take what a feed hands out."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import looptime

from llmscale.assemble.feeding import budgets
from llmscale.config import Config, UserLimit
from llmscale.feed import Feed
from llmscale.feed.passes import IsDone
from llmscale.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.users import UserLimits

TEXT = "x" * 40
NOTHING_USED = Usage()


class Inline(ThreadPoolExecutor):
    """Reads at once in the caller's thread, so that virtual time does not run ahead of it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def now_s() -> float:
    return asyncio.get_running_loop().time()


def virtually(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end on a virtual clock, reading in the loop's own thread."""

    async def inline() -> None:
        asyncio.get_running_loop().set_default_executor(Inline())
        await play()

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(inline())


def row_of(user: str | None, index: int = 0, text: str = TEXT, max_tokens: int = 10) -> Row:
    messages = [{"role": "user", "content": text}]
    request = Request(model="sim/a", messages=messages, max_tokens=max_tokens)
    return Row(index=index, user=user, request=request)


def rows_of_users(users: Sequence[str | None]) -> list[Row]:
    """Return a row for each name, in that order."""
    return [row_of(user, index) for index, user in enumerate(users)]


def answered(row: Row, usage: Usage = NOTHING_USED, **how: Any) -> Outcome:
    reply = Reply(text="x", finish_reason="stop", model="a", usage=usage, **how)
    return Outcome(row=row, reply=reply, attempts=reply.attempts)


def cached(row: Row) -> Outcome:
    return answered(row, Usage(20, 5), cached=True, attempts=0)


def failed(row: Row, attempts: int) -> Outcome:
    failure = row.failure or Failure(kind="timeout", message="late", retryable=True)
    return Outcome(row=row, failure=failure, attempts=attempts)


def limits_of(default: UserLimit | None = None, **named: UserLimit) -> UserLimits:
    """Return the limits of all users, as a run has them."""
    return UserLimits(budgets(Config(limits_user=default, limits_users=named)))


class Input:
    """A file of rows in blocks, and how often it was opened and each row parsed."""

    def __init__(self, rows: Sequence[Row], block_rows: int = 100) -> None:
        self._rows = rows
        self._block_rows = block_rows
        self.passes = 0
        self.parsed = 0

    def read(self, is_done: IsDone | None) -> Iterator[list[Row]]:
        """Be a `Read`."""
        self.passes += 1
        for at in range(0, len(self._rows), self._block_rows):
            block = self._rows[at : at + self._block_rows]
            wanted = [row for row in block if not (is_done and is_done(row.index))]
            self.parsed += len(wanted)
            if wanted:
                yield wanted


class Workers:
    """As many workers as the width, each with one row at a time."""

    def __init__(
        self, feed: Feed, end: Callable[[Row], Outcome] = answered, latency_s: float = 1.0
    ) -> None:
        self._feed = feed
        self._end = end
        self._latency_s = latency_s
        self.taken: list[tuple[float, Row]] = []

    async def run(self, width: int) -> float:
        """Work to the end and return how long it took."""
        began_s = now_s()
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(self._work())
        return now_s() - began_s

    async def _work(self) -> None:
        while (row := await self._feed.next()) is not None:
            self.taken.append((now_s(), row))
            if row.failure is None and self._latency_s:
                await asyncio.sleep(self._latency_s)
            self._feed.settle(self._end(row))

    @property
    def order(self) -> list[int]:
        return [row.index for _, row in self.taken]

    def times_s(self, user: str | None) -> list[float]:
        """Return when the rows of a user were taken up."""
        return [at_s for at_s, row in self.taken if row.user == user]


def most_in_a_minute(grants: Sequence[tuple[float, float]]) -> float:
    """Return the most that any 60 s hold of (when, how much), both of their ends included."""
    sums = [0.0, *accumulate(amount for _, amount in grants)]
    first, most = 0, 0.0
    for last, (at_s, _) in enumerate(grants):
        while grants[first][0] < at_s - 60:
            first += 1
        most = max(most, sums[last + 1] - sums[first])
    return most
