"""The contents and the history of the cache as a table for a person."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.core.printable import printable
from llmscale.core.units import short_size


def print_stats(stats: dict[str, Any]) -> None:
    """Show what `cache_use.stats` returned, on standard output."""
    console = Console()
    life = stats["life"]
    console.print(Text(printable(stats["folder"]), style="bold"))
    facts = Table(box=None, show_header=False)
    for label, fact in (
        ("entries", f"{stats['entries']:,} in {short_size(stats['size_bytes'])}"),
        ("ages", ", ".join(f"{n:,} {'' if a == 'older' else '< '}{a}" for a, n in _aged(stats))),
        ("hits", f"{life['hits']:,} of {life['hits'] + life['misses']:,} look-ups{_rate(life)}"),
        ("shared calls", f"{life['deduped']:,} rows"),
        ("saved", f"{life['saved_tokens']:,} tokens, ${life['saved_usd']:,.4f}"),
        (
            "stored",
            f"{stats['stored']:,}, {stats['evicted']:,} evicted, {stats['refused']:,} refused",
        ),
    ):
        facts.add_row(label, fact)
    console.print(facts)
    if stats["models"]:
        console.print(_uses(("model", "entries"), _model_rows(stats)))
    if stats["last_runs"]:
        console.print(_uses(("last runs", "output"), _run_rows(stats)))


def _uses(heads: tuple[str, str], rows: Iterable[tuple[str, str, dict[str, Any]]]) -> Table:
    table = Table(box=None)
    table.add_column(heads[0])
    for column in (heads[1], "hits", "misses", "rate", "saved tokens", "saved $"):
        table.add_column(column, justify="right")
    for name, second, use in rows:
        cells = (
            name,
            second,
            f"{use['hits']:,}",
            f"{use['misses']:,}",
            _rate(use).strip(" ()") or "-",
            f"{use['saved_tokens']:,}",
            f"{use['saved_usd']:,.4f}",
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _model_rows(stats: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    return ((model, f"{use['entries']:,}", use) for model, use in stats["models"].items())


def _run_rows(stats: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    return ((run["started"], run["output"], run) for run in stats["last_runs"])


def _aged(stats: dict[str, Any]) -> list[tuple[str, int]]:
    return [(age, count) for age, count in stats["ages"].items() if count] or [("1h", 0)]


def _rate(use: dict[str, Any]) -> str:
    return "" if use["hit_rate"] is None else f" ({use['hit_rate']:.1%})"
