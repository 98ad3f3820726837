"""Where the answers of a run go: the files of a job, which can be resumed, or standard output."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from llmscale.accounting.stats import Spend, Stats
from llmscale.core.choices import OutputFormat
from llmscale.core.protocols import OutcomeSink
from llmscale.job.job import Job
from llmscale.job.spending import Spending
from llmscale.job.stdout import StdoutSink
from llmscale.observe.status_file import JobFigures, StatusFile
from llmscale.observe.status_file import remove as remove_status
from llmscale.report.builder import JobFacts
from llmscale.runtime.estimate_drift import drift_watch

if TYPE_CHECKING:
    from llmscale.accounting.forecast.drift import DriftWatch

STDOUT = "-"

log = logging.getLogger(__name__)


class OutputTarget(Protocol):
    """Takes the answers of one run, from `begin` to `finish` or `pause`."""

    output: str
    """The name of the output in reports and logs."""

    report: str | None
    """Where the report goes; None: nowhere."""

    resumed_rows: int
    """Rows that earlier runs have answered."""

    is_done: Callable[[int], bool] | None
    """Tells whether a row is answered already; None: none is."""

    sync: Callable[[], None] | None
    """Makes what was written outlive a power loss; blocks."""

    spending: Spending | None
    """What earlier runs have cost; None: there were none."""

    drift: "DriftWatch | None"
    """Compares the run with what was estimated; None: nothing was."""

    status: StatusFile | None
    """Shows other processes how far the run is; None: nothing is beside the output."""

    def begin(self, rows: int | None, output_format: OutputFormat, stats: Stats) -> OutcomeSink:
        """Return where outcomes go. `rows` None: not known."""
        ...

    def finish(self, spend: Spend) -> None:
        """Put the output in its place. `spend`: of this run. Raises `StorageError`."""
        ...

    def pause(self, spend: Spend, exit_code: int) -> None:
        """Leave the rest to another run; this one ends with that exit code."""
        ...

    def failed_rows(self, stats: Stats) -> int:
        """Return how many rows have no answer but a failure."""
        ...

    def facts(self, rows: int, spend: Spend, unconfirmed_usd: float) -> JobFacts:
        """Return what the report says of the job. Both amounts are of this run."""
        ...


class FileTarget:
    """The output of a job, with its journal beside it."""

    def __init__(self, job: Job, report: str | None, max_cost_usd: float | None = None) -> None:
        """`report` None: beside the output. `max_cost_usd` None: no cap."""
        self._job = job
        self.output = str(job.files.output)
        self.report: str | None = report or str(job.files.report)
        self.resumed_rows = 0
        self.is_done: Callable[[int], bool] | None = None
        self.sync: Callable[[], None] | None = None
        self.spending: Spending | None = None
        self.drift: DriftWatch | None = None
        self.status: StatusFile | None = None
        self._max_cost_usd = max_cost_usd

    def begin(self, rows: int | None, output_format: OutputFormat, stats: Stats) -> OutcomeSink:
        """Open the journal, with what earlier runs left in it."""
        job = self._job
        job.begin(rows or 0, output_format)
        journal = job.journal
        self.resumed_rows, self.is_done, self.sync = (
            journal.answered,
            journal.has_answer,
            journal.sync,
        )
        self.spending = job.spending
        if journal.answered or journal.failed:
            log.info("resuming: %d of %d rows are answered", journal.answered, journal.rows)
        if journal.damaged_lines:
            log.warning(
                "%s has %d damaged lines; retrying their rows",
                job.files.partial,
                journal.damaged_lines,
            )
        self.drift = drift_watch(job.files, job.manifest, stats)
        self.status = self._status_file(stats)
        return job

    def finish(self, spend: Spend) -> None:
        """Put the output in its place, all rows in input order."""
        self._job.finish(spend)
        remove_status(self._job.files.status)  # the manifest has the counts

    def pause(self, spend: Spend, exit_code: int) -> None:
        """Keep what this run has cost beyond its rows, and how far it has come."""
        self._job.pause(spend)
        if self.status is not None:
            self.status.write_end(exit_code)

    def _status_file(self, stats: Stats) -> StatusFile:
        job = self._job
        figures = JobFigures(
            job.journal.rows,
            job.journal.answered,
            self._max_cost_usd,
            lambda: job.spend(stats.spend()),
        )
        return StatusFile(job.files.status, stats, figures)

    def failed_rows(self, stats: Stats) -> int:  # noqa: ARG002
        """Return those of the whole job."""
        return self._job.journal.failed

    def facts(self, rows: int, spend: Spend, unconfirmed_usd: float) -> JobFacts:  # noqa: ARG002
        """Return the facts of the whole job, over all its runs."""
        job = self._job
        return JobFacts(
            total=rows,
            kept=self.resumed_rows,
            runs=job.manifest.runs,
            max_repeated_calls=job.manifest.max_repeated_calls,
            spend=job.spend(spend),
            unconfirmed_usd=job.spending.unconfirmed_usd,
        )


class StdoutTarget:
    """Standard output, in completion order. Nothing is stored, so nothing can be resumed."""

    output = STDOUT
    resumed_rows = 0
    is_done: Callable[[int], bool] | None = None
    sync: Callable[[], None] | None = None
    spending: Spending | None = None
    drift: "DriftWatch | None" = None
    status: StatusFile | None = None

    def __init__(self, report: str | None) -> None:
        """`report` None: there is no report."""
        self.report = report

    def begin(
        self,
        rows: int | None,  # noqa: ARG002
        output_format: OutputFormat,
        stats: Stats,  # noqa: ARG002
    ) -> OutcomeSink:
        """Return what writes lines at once."""
        return StdoutSink(output_format)

    def finish(self, spend: Spend) -> None:
        """Do nothing."""

    def pause(self, spend: Spend, exit_code: int) -> None:
        """Do nothing."""

    def failed_rows(self, stats: Stats) -> int:
        """Return those of this run."""
        return stats.rows().failed

    def facts(self, rows: int, spend: Spend, unconfirmed_usd: float) -> JobFacts:
        """Return the facts of this run."""
        return JobFacts(total=rows, spend=spend, unconfirmed_usd=unconfirmed_usd)
