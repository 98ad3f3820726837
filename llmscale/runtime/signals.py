"""Clean shutdown: the first signal stops sending, the second stops waiting."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from llmscale.core.errors import Interrupted
from llmscale.engine.pipeline import DRAIN_S

log = logging.getLogger(__name__)


async def run_stoppable(work: Coroutine[Any, Any, object], stop: Callable[[], None]) -> None:
    """Run `work` under Ctrl-C, SIGTERM and SIGHUP. `stop` makes it start nothing new.

    Raises `Interrupted` when a signal came, after at most `DRAIN_S` seconds, or at once on a second
    signal.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        if len(received) > 1:
            task.cancel()
            return
        stop()
        loop.call_later(DRAIN_S, task.cancel)
        log.warning(
            "stopping: draining in-flight requests (up to %.0f s); Ctrl-C again quits now", DRAIN_S
        )

    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signals.append(signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, on_signal, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
    if received:
        raise Interrupted(received[0])
