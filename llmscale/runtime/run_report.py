"""The end of a run: the report in a file and on the terminal, and to observers."""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from llmscale.accounting.run_numbers import EndpointState, Report, StoreCounts
from llmscale.accounting.stats import Stats
from llmscale.config import Config
from llmscale.core.atomic_file import replace_file
from llmscale.core.errors import JobError
from llmscale.job.job_paths import JobPaths
from llmscale.observe.bottleneck import Settings, analyze
from llmscale.report.builder import JobFacts, RunFacts, build, encode
from llmscale.runtime.file_counts import FileCounts
from llmscale.runtime.observers import Observers
from llmscale.runtime.run_result import RunFiles, RunResult
from llmscale.runtime.targets import STDOUT

if TYPE_CHECKING:
    from llmscale.accounting.forecast.drift import DriftWatch
    from llmscale.runtime.layer_stack import Opened

log = logging.getLogger(__name__)


class RunReport:
    """Knows when a run has begun, and reports it when it is over."""

    def __init__(
        self,
        config: Config,
        produces: str,
        inputs: Sequence[str],
        stats: Stats,
        observers: Observers,
        files: FileCounts,
    ) -> None:
        self._config = config
        self._produces = produces
        self._inputs = inputs
        self._stats = stats
        self._observers = observers
        self._files = files
        self._started = datetime.now(UTC)
        self._began_s = time.monotonic()
        self.drift: DriftWatch | None = None  # from what was estimated of the job

    def note_start(self) -> None:
        """Count the time until now as that before the first row may go."""
        self._stats.causes_s["start"] += time.monotonic() - self._began_s

    def tell(
        self,
        output: str,
        path: str | None,
        facts: JobFacts,
        opened: "Opened",
        exit_code: int,
        failed: JobError | None,
    ) -> RunResult:
        """Report the run in every configured way; its exit code is by the rules too.

        `path`: of the report, None for none. `failed` has ended the run.
        """
        wall_s = round(time.monotonic() - self._began_s, 3)
        exit_code = self._observers.judge(exit_code, self._stats, wall_s)
        self._note_use(output, opened)
        report = self._built(output, facts, opened, exit_code, wall_s)
        if path is not None:
            try:
                replace_file(Path(path), encode(report))
            except JobError as error:  # the answers matter more
                log.error("%s", error)
        self._observers.finish(report, failed)
        there = output if failed is None else _partial(output, report)
        return RunResult(exit_code, report, failed, RunFiles(self._produces, there, path))

    def _note_use(self, output: str, opened: "Opened") -> None:
        if opened.replies is not None:
            from llmscale.runtime.cache import note_use  # loaded with the cache by now

            note_use(self._config.cache, opened.replies, self._stats, self._started, output)

    def _built(
        self, output: str, facts: JobFacts, opened: "Opened", exit_code: int, wall_s: float
    ) -> Report:
        settings = Settings(opened.max_calls, opened.capacity)
        held_s, causes_s = self._stats.held_s(), self._stats.causes_s
        run = RunFacts(
            inputs=self._inputs,
            output=output,
            started=self._started,
            wall_s=wall_s,
            exit_code=exit_code,
            cache_mode=self._config.cache.mode,
            store=_store_counts(opened),
            endpoints={
                e.name: msgspec.convert(e.summary(), EndpointState)
                for e in opened.endpoints.values()
            },
            bottleneck=analyze(held_s, wall_s, settings, causes_s),
            documents=self._files.summary(),
            alerts=self._observers.alerts(),
            estimate=None if self.drift is None else self.drift.summary(),
        )
        return build(self._stats, facts, run)


def _store_counts(opened: "Opened") -> StoreCounts | None:
    if opened.replies is None:
        return None
    return msgspec.convert(opened.replies.summary(), StoreCounts)


def _partial(output: str, report: Report) -> str:
    """Return where the rows are of a run that has not come to its end; "" where there are none."""
    rows = report.rows
    if output == STDOUT:
        return output
    return str(JobPaths(Path(output)).partial) if rows.total > rows.pending else ""
