"""How far a run is, in a small file beside its output: for `llmscale status` in another terminal.

Written once a second from a thread, whole or not at all, and not synced: it is of no use after a
crash of the machine. What can't be written never hurts the run.
"""

import contextlib
import logging
import os
import platform
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from llmscale.accounting.stats import Spend, Stats
from llmscale.core.atomic_file import open_staged, staged_path
from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.small_file import read_small

log = logging.getLogger(__name__)

BEAT_S = 1.0
RATE_BEATS = 60  # the rate is that of the last minute


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one run at one moment. Dollars are those of the job, over all its runs."""

    pid: int
    host: str
    started: datetime
    updated: datetime
    exit_code: int | None = None  # None: the run goes on
    total: int | None  # rows of the job; None: not known
    kept: int  # rows that earlier runs answered
    answered: int
    failed: int
    cached: int
    failures: dict[str, int]
    rows_per_s: float | None
    tokens: int
    cost_usd: float
    unpriced: bool  # the cost is a lower bound
    max_cost_usd: float | None

    @property
    def pending(self) -> int | None:
        """Rows of the job without an outcome."""
        if self.total is None:
            return None
        return max(0, self.total - self.kept - self.answered - self.failed)


class JobFigures(NamedTuple):
    """What is known of the job beside the numbers of its run."""

    total: int | None  # rows; None: not known
    kept: int  # rows that earlier runs answered
    max_cost_usd: float | None
    spend: Callable[[], Spend]  # of all runs until now


class StatusFile:
    """The status of one run in one file."""

    def __init__(self, path: Path, stats: Stats, job: JobFigures) -> None:
        self._path = path
        self._stats = stats
        self._job = job
        self._started = datetime.now(UTC)
        self._recent: deque[tuple[float, int]] = deque(maxlen=RATE_BEATS + 1)
        self._has_failed = False

    async def watch(self) -> None:
        """Write until cancelled."""
        import asyncio  # not before a loop runs: a finished job needs none

        while True:
            content = msgspec.json.encode(self._now())
            await asyncio.to_thread(self._write, content)
            await asyncio.sleep(BEAT_S)

    def write_end(self, exit_code: int) -> None:
        """Write the numbers of a run that has ended before all rows had an outcome."""
        self._write(msgspec.json.encode(self._now(exit_code)))

    def _now(self, exit_code: int | None = None) -> RunStatus:
        rows, calls, spend = self._stats.rows(), self._stats.calls(), self._job.spend()
        return RunStatus(
            pid=os.getpid(),
            host=platform.node(),
            started=self._started,
            updated=datetime.now(UTC),
            exit_code=exit_code,
            total=self._job.total,
            kept=self._job.kept,
            answered=rows.answered,
            failed=rows.failed,
            cached=rows.cached,
            failures=dict(rows.failures.most_common()),
            rows_per_s=self._rate(),
            tokens=calls.usage.total_tokens,
            cost_usd=spend.cost_usd,
            unpriced=spend.unpriced > 0,
            max_cost_usd=self._job.max_cost_usd,
        )

    def _rate(self) -> float | None:
        now_s, done = time.monotonic(), self._stats.done
        self._recent.append((now_s, done))
        began_s, before = self._recent[0]
        return (done - before) / (now_s - began_s) if now_s > began_s else None

    def _write(self, content: bytes) -> None:
        try:
            with open_staged(self._path) as file:
                file.write(content)
            staged_path(self._path).replace(self._path)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("can't write the status %s: %s", self._path, error.strerror or error)


def load(path: Path) -> RunStatus | None:
    """Return the status in a file, None where there is none.

    Raises `ConfigError` for one that can't be used, `StorageError` for one that can't be read.
    """
    try:
        if not path.is_file():  # a pipe in its place would be read for ever
            return None
        return msgspec.json.decode(read_small(path), type=RunStatus)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); remove it") from None


def remove(path: Path) -> None:
    """Remove the status of a job that is finished; its manifest has the counts."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
