"""The server as a process: it listens, says where, and ends with a signal.

Ctrl-C and SIGTERM are the ways in which it is meant to end, so they are no error.
"""

import asyncio
import errno
import gc
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack

import uvloop

from llmscale.core.errors import ConfigError, StorageError
from llmscale.mock.ledger import Ledger, Tally
from llmscale.mock.scenario import Scenario
from llmscale.mock.server import HOST, MockServer

COLLECT_EVERY = 50_000


def serve(
    scenario: Scenario,
    *,
    port: int,
    seed: int,
    ledger_file: str | None,
    announce: Callable[[str], None],
) -> tuple[int, Tally]:
    """Serve until a signal comes; return its number, and what was done.

    `announce` gets the base URL when the server listens. Raises `ConfigError` for a port that can't
    be had, and `StorageError` for a ledger that can't be written.
    """
    with ExitStack() as stack:
        ledger = None
        if ledger_file is not None:
            ledger = Ledger(ledger_file)
            stack.callback(ledger.close)
        gc.freeze()  # what is loaded stays, and calls leave no cycles
        gc.set_threshold(COLLECT_EVERY)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(scenario, port, seed, ledger, announce))


async def _serve(
    scenario: Scenario,
    port: int,
    seed: int,
    ledger: Ledger | None,
    announce: Callable[[str], None],
) -> tuple[int, Tally]:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    def fail(error: StorageError) -> None:
        if not stopped.done():
            stopped.set_exception(error)

    for ending in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(ending, stop, ending)
    server = MockServer(scenario, port=port, seed=seed, ledger=ledger, on_failure=fail)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(server)
        except OSError as error:
            raise _no_port(port, error) from None
        announce(server.base_url)
        number = await stopped
    return number, server.tally


def _no_port(port: int, error: OSError) -> ConfigError:
    reason = "is in use" if error.errno == errno.EADDRINUSE else f"can't be had: {error.strerror}"
    return ConfigError(f"--port: port {port} of {HOST} {reason}; choose another, or 0 for any")
