"""Rows of users, virtual time, and work on what a feed hands out."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmscale.config import LimitsConfig, UserLimit
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.engine.feed import Feed
from llmscale.engine.feed.input_passes import IsDone
from llmscale.engine.limits.user_limits import UserLimits
from llmscale.runtime.limit_terms import limits_of_users
from tests.virtual_time import now_s

TEXT = "x" * 40
NOTHING_USED = Usage()


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
    return UserLimits(limits_of_users(LimitsConfig(user=default, users=named)))


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


async def take_one(feed: Feed) -> Row | None:
    """Return the next row, None at the end."""
    rows = await feed.take(1)
    assert len(rows) <= 1
    return rows[0] if rows else None


class Workers:
    """As many rows in flight as the width, some of them taken at a time."""

    def __init__(
        self,
        feed: Feed,
        end: Callable[[Row], Outcome] = answered,
        latency_s: float = 1.0,
        together: int = 1,
    ) -> None:
        self._feed = feed
        self._end = end
        self._latency_s = latency_s
        self._together = together
        self.taken: list[tuple[float, Row]] = []

    async def run(self, width: int) -> float:
        """Work to the end and return how long it took."""
        began_s = now_s()
        free = asyncio.Event()
        in_flight = 0

        async def work(row: Row) -> None:
            nonlocal in_flight
            if row.failure is None and self._latency_s:
                await asyncio.sleep(self._latency_s)
            self._feed.reconcile(self._end(row))
            in_flight -= 1
            free.set()

        async with asyncio.TaskGroup() as group:
            while rows := await self._feed.take(min(self._together, width - in_flight)):
                assert len(rows) <= min(self._together, width - in_flight)
                in_flight += len(rows)
                self.taken += [(now_s(), row) for row in rows]
                for row in rows:
                    group.create_task(work(row))
                while in_flight == width:
                    free.clear()
                    await free.wait()
        return now_s() - began_s

    @property
    def order(self) -> list[int]:
        return [row.index for _, row in self.taken]

    def times_s(self, user: str | None) -> list[float]:
        """Return when the rows of a user were taken up."""
        return [at_s for at_s, row in self.taken if row.user == user]
