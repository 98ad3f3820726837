"""Time that passes only when everybody waits, and what is to be said of a minute of it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import Any, TypeVar

import looptime

T = TypeVar("T")


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
    """Return the time of the loop."""
    return asyncio.get_running_loop().time()


def virtually(play: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end on a virtual clock of its own, as Hypothesis needs for each example."""

    async def inline() -> T:
        asyncio.get_running_loop().set_default_executor(Inline())
        return await play()

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(inline())


def most_in_a_minute(grants: Sequence[tuple[float, float]]) -> float:
    """Return the most that any 60 s hold of (when, how much), both of their ends included."""
    sums = [0.0, *accumulate(amount for _, amount in grants)]
    first, most = 0, 0.0
    for last, (at_s, _) in enumerate(grants):
        while grants[first][0] < at_s - 60:
            first += 1
        most = max(most, sums[last + 1] - sums[first])
    return most
