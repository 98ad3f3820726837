"""How much of a core this process had, and how long it could have worked while others had them all.

On a machine that others use too, a program that works all the time may get half a core.
"""

import os
import time
from typing import Self

_SCHEDULED = "/proc/thread-self/schedstat"  # ns on a core, ns waiting for one, how often


class CpuClock:
    """Clocks of the thread that enters it, and of its process."""

    def __init__(self, *, threads_count: bool = True) -> None:
        """`threads_count` False: other threads do not tell whether this one is busy."""
        self._had_s = time.process_time if threads_count else time.thread_time
        self._scheduled: int | None = None

    def had_s(self) -> float:
        """Return for how long a core was used."""
        return self._had_s()

    def lacked_s(self) -> float:
        """Return for how long this thread could have worked and had no core; 0 where not known."""
        if self._scheduled is None:
            return 0.0
        return int(os.pread(self._scheduled, 100, 0).split()[1]) / 1e9

    def __enter__(self) -> Self:
        try:
            self._scheduled = os.open(_SCHEDULED, os.O_RDONLY)
        except OSError:  # not Linux, or a kernel that does not tell
            self._scheduled = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._scheduled is not None:
            os.close(self._scheduled)
            self._scheduled = None
