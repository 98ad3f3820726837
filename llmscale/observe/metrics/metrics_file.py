"""Writes the metrics every few seconds, so that whoever reads finds the whole file or none.

The file is for another user, that of the exporter: it is readable by all, whatever the umask. What
can't be written is said once and never hurts the run.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from llmscale.accounting.stats import Stats
from llmscale.core.printable import printable
from llmscale.observe.metrics.exposition import text_of
from llmscale.observe.metrics.families import Facts, families_of

log = logging.getLogger(__name__)

BEAT_S = 5.0
READABLE = 0o644


class MetricsFile:
    """The metrics of one run in one file."""

    def __init__(
        self,
        path: Path,
        stats: Stats,
        total: int | None = None,
        kept: int = 0,
        breakers: Callable[[], dict[str, tuple[int, int]]] = dict,
    ) -> None:
        """`total` rows, None: not known yet; `kept` of them from earlier runs.

        `breakers`: of each endpoint, how often its circuit opened, and closed again.
        """
        self._path = path
        self._stats = stats
        self._run = printable(path.stem)  # as no other file of the folder is called
        self._has_failed = False
        self._total = total
        self._kept = kept
        self._breakers = breakers

    async def watch(self) -> None:
        """Write until cancelled. The end of the run is written with its exit code."""
        while True:
            content = self._content(None)
            await asyncio.to_thread(self._write, content)
            await asyncio.sleep(BEAT_S)

    def write_end(self, total: int, exit_code: int) -> None:
        """Write the numbers of the end."""
        self._total = total
        self._write(self._content(exit_code))

    def _content(self, exit_code: int | None) -> str:
        facts = Facts(self._total, self._kept, self._breakers(), round(time.time(), 3), exit_code)
        return text_of(families_of(self._run, self._stats, facts))

    def _write(self, content: str) -> None:
        # not .prom, or the exporter would read it too
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        try:
            with open(temporary, "w", encoding="utf-8", opener=_no_link) as file:
                os.fchmod(file.fileno(), READABLE)
                file.write(content)
            temporary.replace(self._path)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("can't write the metrics %s: %s", self._path, error.strerror)


def _no_link(path: str, flags: int) -> int:
    """The folder may be one in which others write too."""
    return os.open(path, flags | os.O_NOFOLLOW, READABLE)
