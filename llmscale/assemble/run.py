"""`llmscale run`: a job from its lock to its report.

The network stack, the event loop and the weights are not touched before there is a row to ask.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from llmscale import report as reports
from llmscale.assemble.inputs import files_of, identity_of, readable_twice
from llmscale.assemble.models import Models
from llmscale.config import Config
from llmscale.contracts import OutcomeSink
from llmscale.errors import JobError
from llmscale.formats import OutputFormat
from llmscale.job.files import replace_file
from llmscale.job.job import Job
from llmscale.job.stream import StdoutSink
from llmscale.reader.rows import RowParser, rows_of
from llmscale.reader.sources import STDIN, Source, blocks_of_lines, expand
from llmscale.reader.survey import is_batch_line, survey
from llmscale.records import Row
from llmscale.report import JobFacts
from llmscale.schema import load_response_format
from llmscale.stats import Stats

if TYPE_CHECKING:
    from llmscale.assemble.stack import Opened

STDOUT = "-"

log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Answer every row of the input and return the exit code: 0 all answered, 1 some failed.

    Raises `JobError`; the rows answered until then are safe.
    """
    sources = expand(config.inputs)
    if config.output == STDOUT:
        return _Run(config, sources).to_stdout()
    files = files_of(config, sources)
    with readable_twice(sources, files) as sources:
        job_run = _Run(config, sources)
        identity = identity_of(config, sources)
        with closing(Job(files, identity, overwrite=config.overwrite)) as job:
            if not job.is_finished:
                return job_run.to_file(job)
            rows = job.manifest.rows
            log.info("%s is finished: all %d rows are answered; nothing to do", files.output, rows)
            return 0


def row_parser(config: Config, models: Models) -> RowParser:
    """Return what reads the lines of a run. Raises `ConfigError`."""
    response_format = None
    if config.json_schema is not None:
        response_format = load_response_format(config.json_schema)
    return RowParser(config, response_format, models.resolve)


class _Run:
    """What the parts of one run share."""

    def __init__(self, config: Config, sources: Sequence[Source]) -> None:
        self._config = config
        self._sources = sources
        self._models = Models(config)
        self._parser = row_parser(config, self._models)
        self._stats = Stats()
        self._started = datetime.now(UTC)
        self._began_s = time.monotonic()
        self._reading_stopped = threading.Event()

    def to_file(self, job: Job) -> int:
        """Bring a job to its end, or as far as it goes."""
        config = self._config
        found = survey(self._sources, config.limit)
        opened = self._open()  # before the job leaves a trace
        job.begin(found.rows, _output_format(config, is_batch=found.is_batch))
        journal = job.journal
        kept = journal.answered
        _say_what_is_kept(job)
        lines = blocks_of_lines(self._sources, self._reading_stopped)
        # the rows that were counted, though the file may have grown since
        blocks = rows_of(self._parser, lines, found.rows, journal.has_answer)
        failed: JobError | None = None
        try:
            if kept < found.rows:
                self._answer(opened, blocks, job, found.rows, kept, journal.sync)
            else:
                _close(opened)
            job.finish(self._stats.spend())
        except JobError as error:
            failed = error
        exit_code = failed.exit_code if failed else int(journal.failed > 0)
        facts = JobFacts(
            total=found.rows,
            kept=kept,
            runs=job.manifest.runs,
            paid_again_at_most=job.manifest.paid_again_at_most,
            spend=job.spend(self._stats.spend()),
        )
        path = config.report or str(reports.default_path(job.files.output))
        self._report(exit_code, str(job.files.output), facts, path, opened)
        if failed is not None:
            raise failed
        return exit_code

    def to_stdout(self) -> int:
        """Stream the answers to standard output, in the order in which they come."""
        config = self._config
        lines = blocks_of_lines(self._sources, self._reading_stopped)
        first = next(lines, [])
        is_batch = bool(first) and is_batch_line(first[0])
        sink = StdoutSink(_output_format(config, is_batch=is_batch))
        total = None
        if self._sources[0].path != STDIN:
            total = survey(self._sources, config.limit).rows
        blocks = rows_of(self._parser, chain([first], lines), config.limit)
        opened = self._open()
        failed: JobError | None = None
        try:
            self._answer(opened, blocks, sink, total, 0, lambda: None)
        except JobError as error:
            failed = error
        exit_code = failed.exit_code if failed else int(self._stats.rows().failed > 0)
        spend = self._stats.spend()
        facts = JobFacts(total=total if total is not None else self._stats.done, spend=spend)
        self._report(exit_code, STDOUT, facts, config.report, opened)
        if failed is not None:
            raise failed
        return exit_code

    def _open(self) -> "Opened":
        # not before there is a row to ask: with this come the network stack and the weights
        from llmscale.assemble.stack import open_all

        return open_all(self._config, self._models)

    def _answer(
        self,
        opened: "Opened",
        blocks: Iterator[list[Row]],
        sink: OutcomeSink,
        total: int | None,
        kept: int,
        sync: Callable[[], None],
    ) -> None:
        from llmscale.assemble.answering import answer_rows, run_loop
        from llmscale.progress import Progress, how_to_show

        show = how_to_show(quiet=self._config.quiet, log_format=self._config.log_format)
        progress = Progress(self._stats, total, kept, show)
        run_loop(
            answer_rows(
                self._config,
                self._models,
                opened,
                blocks,
                sink,
                self._stats,
                progress,
                sync,
                self._reading_stopped,
            )
        )
        ignored = sorted(self._parser.ignored_fields)
        if ignored:
            log.warning(
                'fields of rows that are neither sent nor kept: %s; put under "metadata" what '
                "is to come out again",
                ", ".join(ignored),
            )

    def _report(
        self, exit_code: int, output: str, facts: JobFacts, path: str | None, opened: "Opened"
    ) -> None:
        replies = opened.replies
        if replies is not None:
            from llmscale.assemble.caching import note_use  # loaded with the cache by now

            note_use(self._config, replies, self._stats, self._started, output)
        report = reports.build(
            self._stats,
            facts,
            inputs=[source.name for source in self._sources],
            output=output,
            started=self._started,
            wall_s=time.monotonic() - self._began_s,
            exit_code=exit_code,
            cache_mode=self._config.cache_mode,
            store=replies.summary() if replies is not None else None,
        )
        if path is not None:
            try:
                replace_file(Path(path), reports.encode(report))
            except JobError as error:  # the answers matter more
                log.error("%s", error)
        if self._config.quiet:
            return
        if sys.stderr.isatty() and self._config.log_format == "text":
            reports.print_table(report)
            log.info("answers in %s, report in %s", output, path or "no file")
        else:
            log.info("%s -> %s", reports.summary_line(report), output)


def _close(opened: "Opened") -> None:
    from llmscale.assemble.answering import run_loop

    run_loop(opened.aclose())


def _output_format(config: Config, *, is_batch: bool) -> OutputFormat:
    if config.output_format != "auto":
        return config.output_format
    return "openai-batch" if is_batch and config.template is None else "llmscale"


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
