"""A report in few words: a line for a log, and what a table does not say."""

from llmscale.accounting.run_numbers import BottleneckSummary, Report
from llmscale.report.figures import cost_of, counted, usd

MAX_SHOWN = 3  # messages of failed rows


def summary_line(report: Report) -> str:
    """Return the report in one line, for a log."""
    rows, calls = report.rows, report.calls
    parts = [
        f"{rows.kept + rows.answered} of {rows.total} rows answered",
        f"{rows.failed} failed",
        f"{calls.tokens.total_tokens:,} tokens",
        cost_of(calls),
        f"{report.wall_s:.1f} s",
    ]
    if rows.cached or rows.deduped:
        parts.insert(2, f"{rows.cached} from the cache, {rows.deduped} shared a call")
    if rows.truncated:
        parts.insert(2, f"{rows.truncated} cut at max_tokens")
    return ", ".join(parts)


def remarks(report: Report) -> list[str]:
    """What a person should know and the table does not say."""
    rows = report.rows
    found = []
    if rows.kept:
        found.append(f"{counted(rows.kept, 'row')} answered by earlier runs")
    if rows.cached or rows.deduped:
        cache = report.cache
        found.append(
            f"{counted(rows.cached, 'row')} from the cache, {rows.deduped:,} by the call of "
            f"another row: {cache.saved_tokens:,} tokens and {usd(cache.saved_usd)} saved"
        )
    if rows.truncated:
        cut = counted(rows.truncated, "answer")
        found.append(f"{cut} cut at max_tokens (finish_reason length)")
    found += failures(report)
    if rows.pending:
        found.append(f"{counted(rows.pending, 'row')} pending; the same command resumes")
    if report.max_repeated_calls:
        rows_in_flight = counted(report.max_repeated_calls, "row")
        found.append(f"{rows_in_flight} in flight when a run was killed: may be paid twice")
    return found


def failures(report: Report, shown: int = MAX_SHOWN) -> list[str]:
    """Return the messages of most failed rows, each with a row that has met it."""
    found = []
    for failed in report.failures[:shown]:
        row = f"row {failed.row}" + ("" if failed.id is None else f", id {failed.id}")
        said = ": ".join(filter(None, (failed.kind, failed.message)))
        found.append(f"{counted(failed.count, 'row')} failed: {said} ({row})")
    left = report.rows.failed - sum(failed.count for failed in report.failures[:shown])
    return [*found, f"{counted(left, 'row')} failed for other reasons"] if left else found


def held_back(bottleneck: BottleneckSummary) -> list[str]:
    """Return what held the run back, and the one thing to change, where a person can change it."""
    if bottleneck.main in ("start", "end"):
        return []
    advice = f" ({bottleneck.advice})" if bottleneck.advice else ""
    return [f"{bottleneck.says}{advice}"]
