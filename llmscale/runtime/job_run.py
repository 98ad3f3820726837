"""A run of a job from its input to its report, for every workload and every target.

The network stack, the event loop and the weights are not loaded before there is a row to answer.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llmscale.accounting.stats import Stats
from llmscale.config import Config
from llmscale.config.failure_bound import FailureBound
from llmscale.core.atomic_file import replace_file
from llmscale.core.errors import JobError
from llmscale.core.protocols import OutcomeSink
from llmscale.job.job import Job
from llmscale.job.job_paths import JobPaths
from llmscale.report.builder import encode
from llmscale.rows.precheck import Precheck, is_batch_line, precheck
from llmscale.rows.row_parser import RowParser
from llmscale.rows.sources import STDIN, Source
from llmscale.runtime.costs import budget_of, with_rows_left
from llmscale.runtime.failure_watch import FailureWatch
from llmscale.runtime.file_counts import FileCounts
from llmscale.runtime.input_rows import LineReader
from llmscale.runtime.input_watch import InputWatch, has_grown
from llmscale.runtime.job_inputs import identity_of
from llmscale.runtime.models import Models
from llmscale.runtime.observers import Observers
from llmscale.runtime.run_report import RunReport
from llmscale.runtime.run_result import RunResult
from llmscale.runtime.targets import FileTarget, OutputTarget, StdoutTarget
from llmscale.runtime.workload import Workload

if TYPE_CHECKING:
    from llmscale.accounting.budget import CostBudget
    from llmscale.runtime.session import Session, Watcher

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobInput:
    """The input of a job, opened."""

    sources: Sequence[Source]
    models: Models
    parser: RowParser
    files: FileCounts = field(default_factory=FileCounts)  # that the rows come from
    checked: Precheck | None = None  # None: not yet read


class _Known(NamedTuple):
    """What is known of the input before the first call."""

    rows: int | None  # None: it is a stream
    is_batch: bool


def run_job(
    config: Config,
    workload: Workload,
    source: JobInput,
    paths: JobPaths | None,
    observers: Observers,
) -> RunResult:
    """Run a job to its files, or to standard output where `paths` is None.

    Raises `JobError` where nothing was sent; what ends a run later is in the result.
    """
    files = config.files
    if paths is None:
        return JobRun(config, workload, source, observers).run(StdoutTarget(files.report))
    # of a job that may be refused, or is finished, nothing but the digest is of use
    watch = InputWatch.of(source.sources)
    starts = paths.will_start(overwrite=files.overwrite)
    checked = precheck(source.sources, files.limit) if starts else None
    identity = identity_of(config, source.sources, workload.identity_settings, checked)
    follows_input = workload.follows_input
    with closing(
        Job(
            paths,
            identity,
            overwrite=files.overwrite,
            follows_input=follows_input,
            has_grown=partial(has_grown, source.sources),
        )
    ) as job:
        if job.is_finished:
            rows = job.manifest.rows
            log.info("%s is finished and unchanged (%d rows); nothing to do", paths.output, rows)
            result = observers.finish_unchanged(job.manifest)
            _write_missing(Path(files.report or paths.report), result)
            return result
        job_run = JobRun(config, workload, replace(source, checked=checked), observers)
        job_run.check_input = partial(watch.check, identity.inputs)
        return job_run.run(FileTarget(job, files.report, config.cost.max_cost))


class JobRun:
    """One run of one job, and what its parts share."""

    def __init__(
        self, config: Config, workload: Workload, source: JobInput, observers: Observers
    ) -> None:
        self._config = config
        self._workload = workload
        self._input = source
        self._observers = observers
        self._stats = Stats()
        self.check_input: Callable[[], None] = lambda: None
        """Raises `StorageError` where the input is no longer what was read."""
        self._reader = LineReader(source.sources)
        inputs = [one.name for one in source.sources]
        self._report = RunReport(
            config, workload.produces, inputs, self._stats, observers, source.files
        )

    def run(self, target: OutputTarget) -> RunResult:
        """Answer every row that has no answer yet.

        Raises `JobError` before anything is sent; what ends the run later is in the result.
        """
        known = self._known()
        session = self._open()  # before the job leaves a trace
        output_format = self._workload.output_format(is_batch=known.is_batch)
        sink = target.begin(known.rows, output_format, self._stats)
        if target.is_done is not None and target.resumed_rows:
            self._input.files.resume(target.is_done)
        budget = budget_of(self._config.cost, self._input.models, target.spending)
        self._report.drift = target.drift
        failed: JobError | None = None
        try:
            if known.rows is None or target.resumed_rows < known.rows:
                self._answer(session, target, sink, known, budget)
            else:
                self._report.note_start()
                _close(session)
            self.check_input()
            target.finish(self._stats.spend())
        except JobError as error:
            failed = error
            if known.rows is not None:
                left = known.rows - target.resumed_rows - self._stats.done
                failed = with_rows_left(error, left)
            target.pause(self._stats.spend(), failed.exit_code)
        return self._ended(session, target, known, budget, failed)

    def _ended(
        self,
        session: "Session",
        target: OutputTarget,
        known: _Known,
        budget: "CostBudget | None",
        failed: JobError | None,
    ) -> RunResult:
        stats = self._stats
        fails = target.failed_rows(stats) > 0 and not self._observers.judge_failures
        exit_code = failed.exit_code if failed else int(fails)
        facts = target.facts(
            stats.done if known.rows is None else known.rows,
            stats.spend(),
            0.0 if budget is None else budget.unconfirmed_usd,
        )._replace(max_cost_usd=self._config.cost.max_cost)
        return self._report.tell(
            target.output, target.report, facts, session.opened, exit_code, failed
        )

    def _known(self) -> _Known:
        """Return what is known of the input; a stream is read no further than its first block."""
        source = self._input
        if source.sources[0].path == STDIN:
            first = self._reader.first()
            return _Known(None, first is not None and is_batch_line(first))
        found = source.checked or precheck(source.sources, self._config.files.limit)
        return _Known(found.rows, found.is_batch)

    def _open(self) -> "Session":
        # not before there is a row to answer: it loads the network stack and the weights
        from llmscale.runtime.session import Session

        return Session.open(self._config, self._input.models, self._workload)

    def _answer(
        self,
        session: "Session",
        target: OutputTarget,
        sink: OutcomeSink,
        known: _Known,
        budget: "CostBudget | None",
    ) -> None:
        from llmscale.runtime.event_loop import answer_stoppably
        from llmscale.runtime.session import RunContext

        # the rows that were counted, though the file may have grown since
        limit = self._config.files.limit if known.rows is None else known.rows
        parser, files = self._input.parser, self._input.files
        rows = self._reader.rows(parser, known.rows, limit, target.is_done)
        failures = FailureWatch(files.counting(self._observers.through(sink)), self._max_failures())
        watchers = self._watchers(session, target, known, budget)
        self._report.note_start()
        context = RunContext(self._stats, budget, target.sync, watchers, failures)
        answer_stoppably(session, rows, failures, context)
        ignored = sorted(parser.ignored_fields)
        if ignored:
            log.warning(
                "ignored fields of rows (neither sent nor stored): %s; put what the output is to "
                'have under "metadata"',
                ", ".join(ignored),
            )

    def _max_failures(self) -> FailureBound | None:
        text = self._config.retry.max_failures
        return None if text is None else FailureBound.parse(text)

    def _watchers(
        self,
        session: "Session",
        target: OutputTarget,
        known: _Known,
        budget: "CostBudget | None",
    ) -> "list[Watcher]":
        from llmscale.observe.progress import Progress, Unit, how_to_show

        logging, files = self._config.logging, self._input.files
        progress = Progress(
            self._stats,
            known.rows,
            target.resumed_rows,
            how_to_show(quiet=logging.quiet, log_format=logging.log_format),
            None if budget is None else lambda: budget.left_usd,
            Unit(files.unit(known.rows), files.figures),
        )
        endpoints = session.opened.endpoints
        watchers = [
            progress.watch,
            *self._observers.watching(
                self._stats, known.rows, target.resumed_rows, endpoints, budget
            ),
        ]
        beside = (target.drift, target.status)
        return watchers + [one.watch for one in beside if one is not None]


def _write_missing(path: Path, result: RunResult) -> None:
    """Write the report of a job that was killed between its output and its report."""
    if result.report is not None and not path.exists():
        try:
            replace_file(path, encode(result.report))
        except JobError as error:  # the answers are there
            log.error("%s", error)


def _close(session: "Session") -> None:
    from llmscale.runtime.event_loop import run_loop

    run_loop(session.aclose())
