"""A job from its lock to its report, whatever its rows are.

The network stack, the event loop and the weights are not touched before there is a row to ask.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, takewhile
from typing import TYPE_CHECKING

from llmscale.accounting.stats import Stats
from llmscale.config import Config
from llmscale.core.choices import OutputFormat
from llmscale.core.errors import JobError
from llmscale.core.protocols import OutcomeSink
from llmscale.core.records import Row
from llmscale.job.job import Job
from llmscale.job.stdout import StdoutSink
from llmscale.providers import Task
from llmscale.report.builder import JobFacts
from llmscale.report.report_paths import default_path
from llmscale.rows.chat_rows import Parses, rows_of
from llmscale.rows.precheck import is_batch_line, precheck
from llmscale.rows.sources import STDIN, Line, Source, blocks_of_lines
from llmscale.runtime.costs import budget_of, check_budget, with_rows_left
from llmscale.runtime.estimate_drift import drift_watch
from llmscale.runtime.file_counts import FileCounts
from llmscale.runtime.models import Models
from llmscale.runtime.observers import Observers
from llmscale.runtime.run_report import RunReport

if TYPE_CHECKING:
    from llmscale.accounting.budget import CostBudget
    from llmscale.engine.feed.input_passes import IsDone
    from llmscale.runtime.layer_stack import Opened

STDOUT = "-"

log = logging.getLogger(__name__)


class JobRun:
    """One run of one job, and what its parts share."""

    def __init__(
        self,
        config: Config,
        models: Models,
        sources: Sequence[Source],
        parser: Parses,
        task: Task,
        observers: Observers,
        files: FileCounts | None = None,
    ) -> None:
        """`files`: those that the rows were made of; None: rows were rows."""
        self._observers = observers
        self._config = config
        self._sources = sources
        self._models = models
        self._parser = parser
        self._task = task
        self._files = files or FileCounts()
        self._stats = Stats()
        inputs = [source.name for source in sources]
        self._report = RunReport(config, task, inputs, self._stats, observers, self._files)
        self._reading_stopped = threading.Event()

    def to_file(self, job: Job) -> int:
        """Bring a job to its end, or as far as it goes."""
        config = self._config
        found = precheck(self._sources, config.files.limit)
        opened = self._open()  # before the job leaves a trace
        job.begin(found.rows, self._output_format(is_batch=found.is_batch))
        journal = job.journal
        kept = journal.answered
        _say_what_is_kept(job)
        if kept:
            self._files.keep(journal.has_answer)
        budget = budget_of(config, self._models, job.spending)
        self._report.drift = drift_watch(job.files, job.manifest, self._stats)
        failed: JobError | None = None
        try:
            if kept < found.rows:
                has_answer = journal.has_answer
                self._answer(opened, job, found.rows, kept, journal.sync, budget, has_answer)
            else:
                self._report.note_start()
                _close(opened)
            job.finish(self._stats.spend())
        except JobError as error:
            failed = with_rows_left(error, found.rows - kept - self._stats.done)
            job.pause(self._stats.spend())
        exit_code = failed.exit_code if failed else int(journal.failed > 0)
        facts = JobFacts(
            total=found.rows,
            kept=kept,
            runs=job.manifest.runs,
            max_repeated_calls=job.manifest.max_repeated_calls,
            spend=job.spend(self._stats.spend()),
            max_cost_usd=config.cost.max_cost,
            unconfirmed_usd=job.spending.unconfirmed_usd,
        )
        path = config.files.report or str(default_path(job.files.output))
        output = str(job.files.output)
        exit_code = self._report.tell(output, path, facts, opened, exit_code, failed)
        if failed is not None:
            raise failed
        return exit_code

    def to_stdout(self) -> int:
        """Stream the answers to standard output, in the order in which they come."""
        config = self._config
        lines = self._lines()
        first = next(lines, [])
        is_batch = bool(first) and is_batch_line(first[0])
        sink = StdoutSink(self._output_format(is_batch=is_batch))
        total = None
        if self._sources[0].path != STDIN:
            total = precheck(self._sources, config.files.limit).rows
        opened = self._open()
        budget = budget_of(config, self._models)
        failed: JobError | None = None
        try:
            begun = chain([first], lines)
            self._answer(opened, sink, total, 0, lambda: None, budget, begun=begun)
        except JobError as error:
            failed = error if total is None else with_rows_left(error, total - self._stats.done)
        exit_code = failed.exit_code if failed else int(self._stats.rows().failed > 0)
        spend = self._stats.spend()
        facts = JobFacts(
            total=total if total is not None else self._stats.done,
            spend=spend,
            max_cost_usd=config.cost.max_cost,
            unconfirmed_usd=budget.unconfirmed_usd if budget is not None else 0.0,
        )
        exit_code = self._report.tell(STDOUT, config.files.report, facts, opened, exit_code, failed)
        if failed is not None:
            raise failed
        return exit_code

    def _lines(self) -> Iterator[list[Line]]:
        lines = blocks_of_lines(self._sources, self._reading_stopped)
        return takewhile(lambda _: not self._reading_stopped.is_set(), lines)

    def _open(self) -> "Opened":
        # not before there is a row to ask: with this come the network stack and the weights
        from llmscale.runtime.layer_stack import open_all

        check_budget(self._config, self._models, self._task)
        return open_all(self._config, self._models, self._task)

    def _output_format(self, *, is_batch: bool) -> OutputFormat:
        if self._task == "embedding":
            return self._config.embed.vectors
        if self._config.files.output_format != "auto":
            return self._config.files.output_format
        return "openai-batch" if is_batch and self._config.sampling.template is None else "llmscale"

    def _answer(
        self,
        opened: "Opened",
        sink: OutcomeSink,
        total: int | None,
        kept: int,
        sync: Callable[[], None],
        budget: "CostBudget | None",
        has_answer: Callable[[int], bool] | None = None,
        begun: Iterator[list[Line]] | None = None,
    ) -> None:
        from llmscale.observe.progress import Progress, how_to_show
        from llmscale.runtime.event_loop import answer_rows, run_loop
        from llmscale.runtime.feeds import either, feed_of

        logging = self._config.logging
        show = how_to_show(quiet=logging.quiet, log_format=logging.log_format)
        left_usd = None if budget is None else lambda: budget.left_usd
        unit, more = self._files.unit(total), self._files.figures
        progress = Progress(self._stats, total, kept, show, left_usd, unit=unit, more=more)
        # the rows that were counted, though the file may have grown since
        limit = self._config.files.limit if total is None else total

        def read(is_done: "IsDone | None") -> Iterator[list[Row]]:
            lines = begun if begun and is_done is None else self._lines()
            return rows_of(self._parser, lines, limit, either(has_answer, is_done))

        self._report.note_start()
        run_loop(
            answer_rows(
                self._config,
                self._models,
                opened,
                feed_of(self._config, read, total),
                self._files.counting(self._observers.through(sink)),
                self._stats,
                progress,
                sync,
                self._reading_stopped,
                budget,
                [
                    *self._observers.watching(self._stats, total, kept, opened.endpoints, budget),
                    *([self._report.drift.watch] if self._report.drift else []),
                ],
            )
        )
        ignored = sorted(self._parser.ignored_fields)
        if ignored:
            log.warning(
                'fields of rows that are neither sent nor kept: %s; put under "metadata" what '
                "is to come out again",
                ", ".join(ignored),
            )


def _close(opened: "Opened") -> None:
    from llmscale.runtime.event_loop import run_loop

    run_loop(opened.aclose())


def _say_what_is_kept(job: Job) -> None:
    journal = job.journal
    if journal.answered or journal.failed:
        log.info("resuming: %d of %d rows are answered", journal.answered, journal.rows)
    if journal.damaged_lines:
        log.warning(
            "%s has %d damaged lines; their rows are asked again",
            job.files.partial,
            journal.damaged_lines,
        )
