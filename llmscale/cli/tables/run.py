"""The end of a run on a terminal: a small table with remarks, on stderr."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.accounting.run_numbers import Report
from llmscale.accounting.stats.summaries import CallsSummary, RowsSummary
from llmscale.core.printable import printable
from llmscale.report.figures import cost_of, seconds
from llmscale.report.remarks import held_back, remarks, summary_line

MIN_TABLE_COLUMNS = 80


def print_table(report: Report) -> None:
    """Show the report on stderr as a small table; as a line where no table fits."""
    console = Console(stderr=True)
    if console.width < MIN_TABLE_COLUMNS:
        console.print(Text(printable(summary_line(report))))
    else:
        console.print(_table(report))
    for line in (*remarks(report), *held_back(report.bottleneck)):
        console.print(Text(printable(line)))


def _table(report: Report) -> Table:
    table = Table(title="llmscale", title_justify="left", title_style="bold", box=None)
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for model, part in report.models.items():
        cells = _cells(part.rows, part.calls, report.wall_s)
        table.add_row(*(Text(printable(cell)) for cell in (model, *cells)))
    if len(report.models) != 1:
        cells = _cells(report.rows, report.calls, report.wall_s)
        table.add_row("all", *cells, style="bold")
    return table


_COLUMNS = (
    ("model", "left"),
    ("answered", "right"),
    ("failed", "right"),
    ("retries", "right"),
    ("rows/s", "right"),
    ("p50 s", "right"),
    ("p99 s", "right"),
    ("tokens", "right"),
    ("cost", "right"),
)


def _cells(rows: RowsSummary, calls: CallsSummary, wall_s: float) -> list[str]:
    done = rows.answered + rows.failed
    latency = rows.latency_s
    return [
        f"{rows.answered:,}",
        f"{rows.failed:,}",
        f"{calls.retries:,}",
        f"{done / wall_s:,.1f}" if wall_s else "-",
        seconds(latency.p50),
        seconds(latency.p99),
        f"{calls.tokens.total_tokens:,}",
        cost_of(calls),
    ]
