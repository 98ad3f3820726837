"""Takes alerts to their targets in a thread of its own, so that the run never waits for one."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from llmscale.observe.alerts.targets import DeliveryFailed, Target

log = logging.getLogger(__name__)

LAST_S = 15.0  # for alerts still in delivery at the end of the run


class Delivery:
    """Alerts in delivery. A target that fails is logged one time."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._complained_of: set[str] = set()
        self._is_over = False  # nobody waits any more: nothing is said after the end

    def tell(self, payload: bytes) -> None:
        """Queue an alert; returns at once."""
        if not self._targets:
            return
        if self._thread is None:
            # a daemon: where a target hangs, the process ends all the same
            self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
            self._thread.start()
        self._waiting.put(payload)

    def finish(self) -> None:
        """Wait for queued alerts, for a bounded time."""
        if self._thread is None:
            return
        self._waiting.put(None)
        self._thread.join(LAST_S)
        if self._thread.is_alive():
            self._is_over = True
            log.warning("not all alerts could be delivered within %g s", LAST_S)

    def _work(self) -> None:
        while True:
            payloads = [self._waiting.get()]
            with contextlib.suppress(Empty):
                while True:
                    payloads.append(self._waiting.get_nowait())
            asyncio.run(self._tell_all([p for p in payloads if p is not None]))
            if None in payloads:
                return

    async def _tell_all(self, payloads: Sequence[bytes]) -> None:
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                for payload in payloads:
                    group.create_task(self._tell(target, payload))

    async def _tell(self, target: Target, payload: bytes) -> None:
        try:
            await target.tell(payload)
        except DeliveryFailed as error:
            why = str(error)
        except Exception as error:  # whatever a library brings: it must not end the thread
            why = f"failed ({type(error).__name__})"
        else:
            return
        if target.name not in self._complained_of and not self._is_over:
            self._complained_of.add(target.name)
            log.warning("%s %s; an alert was not delivered", target.name, why)
