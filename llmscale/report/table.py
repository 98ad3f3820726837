"""The report on a terminal: a line for a log, or a small table with remarks."""

from typing import TYPE_CHECKING, Any

from llmscale.core.printable import printable
from llmscale.report.figures import counted, dollars, seconds, tokens_of, usd

if TYPE_CHECKING:
    from rich.table import Table

MIN_TABLE_COLUMNS = 80


def summary_line(report: dict[str, Any]) -> str:
    """Return the report in one line, for a log."""
    rows, calls = report["rows"], report["calls"]
    parts = [
        f"{rows['kept'] + rows['answered']} of {rows['total']} rows answered",
        f"{rows['failed']} failed",
        f"{tokens_of(calls):,} tokens",
        dollars(calls),
        f"{report['wall_s']:.1f} s",
    ]
    if rows["cached"] or rows["deduped"]:
        parts.insert(2, f"{rows['cached']} from the cache, {rows['deduped']} shared a call")
    if rows["truncated"]:
        parts.insert(2, f"{rows['truncated']} cut at max_tokens")
    return ", ".join(parts)


def print_table(report: dict[str, Any]) -> None:
    """Show the report on stderr as a small table; as a line where no table fits."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if console.width < MIN_TABLE_COLUMNS:
        console.print(Text(printable(summary_line(report))))
    else:
        console.print(_table(report))
    for line in (*remarks(report), *held_back(report["bottleneck"])):
        console.print(Text(printable(line)))


def _table(report: dict[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title="llmscale", title_justify="left", title_style="bold", box=None)
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for model, part in report["models"].items():
        cells = _cells(part["rows"], part["calls"], report["wall_s"])
        table.add_row(*(Text(printable(cell)) for cell in (model, *cells)))
    if len(report["models"]) != 1:
        cells = _cells(report["rows"], report["calls"], report["wall_s"])
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


def _cells(rows: dict[str, Any], calls: dict[str, Any], wall_s: float) -> list[str]:
    done = rows["answered"] + rows["failed"]
    latency = rows["latency_s"]
    return [
        f"{rows['answered']:,}",
        f"{rows['failed']:,}",
        f"{calls['retries']:,}",
        f"{done / wall_s:,.1f}" if wall_s else "-",
        seconds(latency["p50"]),
        seconds(latency["p99"]),
        f"{tokens_of(calls):,}",
        dollars(calls),
    ]


def remarks(report: dict[str, Any]) -> list[str]:
    """What a person should know and the table does not say."""
    rows = report["rows"]
    found = []
    if rows["kept"]:
        found.append(f"{counted(rows['kept'], 'row')} answered by earlier runs")
    if rows["cached"] or rows["deduped"]:
        cache = report["cache"]
        found.append(
            f"{counted(rows['cached'], 'row')} from the cache, {rows['deduped']:,} by the call of "
            f"another row: {cache['saved_tokens']:,} tokens and {usd(cache['saved_usd'])} saved"
        )
    if rows["truncated"]:
        cut = counted(rows["truncated"], "answer")
        found.append(f"{cut} cut at max_tokens (finish_reason length)")
    for kind, count in rows["failures"].items():
        found.append(f"{counted(count, 'row')} failed: {kind}")
    if rows["pending"]:
        found.append(f"{counted(rows['pending'], 'row')} pending; the same command resumes")
    if report["max_repeated_calls"]:
        count = counted(report["max_repeated_calls"], "row")
        found.append(f"{count} in flight when a run was killed: may be paid twice")
    return found


def held_back(bottleneck: dict[str, Any]) -> list[str]:
    """Return what held the run back, and the one thing to change, where a person can change it."""
    if bottleneck["main"] in ("start", "end"):
        return []
    advice = f" ({bottleneck['advice']})" if bottleneck["advice"] else ""
    return [f"{bottleneck['says']}{advice}"]
