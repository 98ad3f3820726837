"""A test server as a process of its own, which ends with whoever has started it."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.servers.chat import ChatServer

ROOT = Path(__file__).parents[2]


@contextmanager
def chat_process(*options: object, module: str = "tests.servers.chat") -> Iterator[str]:
    """Run the server in a process of its own, with options as on its command line.

    Yields its base URL. It ends with the block, and also when this process dies.
    """
    command = [sys.executable, "-m", module, "--with-parent", *map(str, options)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        try:
            if not base_url:
                raise RuntimeError("the chat server did not start")
            yield base_url
        finally:
            process.terminate()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.chat")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="append a line per event")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="S", help="at most this more")
    parser.add_argument("--faults", default="", metavar="SPEC", help="429:0.05,reset:0.01,...")
    parser.add_argument("--seed", type=int, default=0, help="of faults and jitter")
    parser.add_argument("--with-parent", action="store_true", help="stop when stdin closes")
    return parser.parse_args()


def _stop_with_parent(stop: asyncio.Event) -> None:
    """Read stdin to its end: the kernel closes the parent's end however the parent dies."""
    if not os.read(0, 4096):
        stop.set()


async def _serve(options: argparse.Namespace, kind: type["ChatServer"]) -> None:
    """Serve until a signal comes, or until the parent is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.with_parent:
        loop.add_reader(0, _stop_with_parent, stop)
    server = kind(
        port=options.port,
        latency_s=options.latency,
        jitter_s=options.jitter,
        faults=options.faults,
        seed=options.seed,
        ledger=options.ledger,
        keep_requests=False,
    )
    async with server:
        print(server.base_url, flush=True)
        await stop.wait()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def main(kind: type["ChatServer"]) -> None:
    """Run the server as its own process."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(_options(), kind))
