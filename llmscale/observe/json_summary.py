"""How a command has ended, in one line of JSON: for CI, which reads the last line of stderr."""

import msgspec

from llmscale.accounting.run_numbers import Report
from llmscale.core.printable import printable


class EndSummary(msgspec.Struct, kw_only=True):
    """The line. Fields of a run that has not begun are null: `llmscale help ci`."""

    exit_code: int
    error: str | None  # the sentence that ended the command
    output: str | None = None
    wall_s: float | None = None
    rows_total: int | None = None
    rows_kept: int | None = None
    rows_answered: int | None = None
    rows_failed: int | None = None
    rows_pending: int | None = None
    failures: dict[str, int] | None = None
    rows_per_s: float | None = None
    p50_s: float | None = None
    p99_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    hit_rate: float | None = None
    alerts: list[str] = []
    failed_on: list[str] = []


def summary_line(exit_code: int, report: Report | None, error: str | None) -> str:
    """Return the line. `report` None: there was no run."""
    summary = EndSummary(exit_code=exit_code, error=None if error is None else printable(error))
    if report is not None:
        _fill(summary, report)
    return msgspec.json.encode(summary).decode()


def _fill(summary: EndSummary, report: Report) -> None:
    rows, calls = report.rows, report.calls
    summary.output = printable(report.output)
    summary.wall_s, summary.rows_per_s = report.wall_s, report.rows_per_s
    summary.rows_total, summary.rows_kept, summary.rows_pending = (
        rows.total,
        rows.kept,
        rows.pending,
    )
    summary.rows_answered, summary.rows_failed = rows.answered, rows.failed
    summary.failures = rows.failures
    summary.p50_s, summary.p99_s = rows.latency_s.p50, rows.latency_s.p99
    summary.input_tokens = calls.tokens.input_tokens
    summary.output_tokens = calls.tokens.output_tokens
    summary.cost_usd, summary.hit_rate = calls.cost_usd, report.cache.hit_rate
    summary.alerts = [alert.rule for alert in report.alerts]
    summary.failed_on = [alert.rule for alert in report.alerts if alert.fails]
