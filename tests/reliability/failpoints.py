"""The tool, killed at a point of its code: `python -m tests.reliability.failpoints POINT N ...`.

The N-th time that it gets to POINT it dies by SIGKILL. The product has no failpoints: this replaces
functions of it from outside, in a process of its own, and then is the tool with those arguments.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from llmscale import cli

SENT_S = 0.05  # a call is sent by then, and not answered by a server that takes longer
STORED_S = 0.2  # the thread of the cache has done its work by then


class Countdown:
    """Dies when it has been called often enough."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def is_over(self) -> bool:
        """Count, and tell whether this is the time."""
        self._left -= 1
        return self._left == 0

    def __call__(self) -> None:
        """Count, and die if this is the time."""
        if self.is_over():
            die()


def die() -> None:
    """Be gone, with nothing closed and nothing flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def before_the_send(count: Countdown) -> None:
    """A row was taken up, and nothing of it has left the process."""
    from llmscale.providers.http.provider import HttpEndpoint

    HttpEndpoint.post = _before(count, HttpEndpoint.post)  # type: ignore[method-assign]


def sent_without_an_answer(count: Countdown) -> None:
    """The request is with the server, which has yet to answer."""
    from llmscale.providers.http.connection import Connection

    exchange = Connection.exchange

    def patched(self: Connection, payload: bytes) -> Any:
        if count.is_over():
            asyncio.get_running_loop().call_later(SENT_S, die)
        return exchange(self, payload)

    Connection.exchange = patched  # type: ignore[method-assign]


def answered_and_not_stored(count: Countdown) -> None:
    """The answer was read, and the cache has yet to hear of it."""
    from llmscale.engine.cache.disk_backend import DiskBackend

    DiskBackend.put = _before(count, DiskBackend.put)  # type: ignore[method-assign]


def stored_and_not_written(count: Countdown) -> None:
    """The answer is safe in the cache, and its row has yet to be written."""
    from llmscale.job.journal import Journal

    append = Journal.append

    def patched(self: Journal, lines: Any) -> None:
        if count.is_over():
            time.sleep(STORED_S)
            die()
        append(self, lines)

    Journal.append = patched  # type: ignore[method-assign]


def written_and_not_stored(count: Countdown) -> None:
    """The row is written, and its answer has yet to get into the cache."""
    from llmscale.engine.cache.store import Store

    Store.add = _before(count, Store.add)  # type: ignore[method-assign]


def in_the_middle_of_a_line(count: Countdown) -> None:
    """Half of a row's line is in the file."""
    write = os.write

    def patched(descriptor: int, content: bytes) -> int:
        if bytes(content[:6]) == b'{"id":' and count.is_over():
            write(descriptor, content[: len(content) // 2])
            die()
        return write(descriptor, content)

    os.write = patched  # type: ignore[assignment]


def before_the_final_rename(count: Countdown) -> None:
    """The output is written and synced under another name."""
    job = _module_of_jobs()
    job.publish = _before(count, job.publish)


def after_the_final_rename(count: Countdown) -> None:
    """The output is in its place, and the job's own file does not say so yet."""
    job = _module_of_jobs()
    publish = job.publish

    def patched(*args: Any) -> None:
        publish(*args)
        count()

    job.publish = patched


POINTS: dict[str, Callable[[Countdown], None]] = {
    "before the send": before_the_send,
    "sent, no answer": sent_without_an_answer,
    "answered, not stored": answered_and_not_stored,
    "stored, not written": stored_and_not_written,
    "written, not stored": written_and_not_stored,
    "middle of a line": in_the_middle_of_a_line,
    "before the final rename": before_the_final_rename,
    "after the final rename": after_the_final_rename,
}


def _module_of_jobs() -> Any:
    return import_module("llmscale.job.job")


def _before(count: Countdown, really: Callable[..., Any]) -> Callable[..., Any]:
    def patched(*args: Any, **named: Any) -> Any:
        count()
        return really(*args, **named)

    return patched


def main() -> None:
    """Set the point up and be the tool."""
    point, calls, *arguments = sys.argv[1:]
    POINTS[point](Countdown(int(calls)))
    sys.argv = ["llmscale", *arguments]
    cli.main()


if __name__ == "__main__":
    main()
