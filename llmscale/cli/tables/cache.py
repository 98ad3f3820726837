"""`llmscale cache stats` on a terminal: the contents, the savings, the use by model and by run."""

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.commands.cache import CacheStats, UseStats
from llmscale.core.printable import printable
from llmscale.core.units import short_size


def print_stats(stats: CacheStats) -> None:
    """Print the contents and the history of the cache on standard output."""
    console = Console()
    console.print(Text(printable(stats.folder), style="bold"))
    facts = Table(box=None, show_header=False)
    for label, fact in _facts(stats):
        facts.add_row(label, fact)
    console.print(facts)
    if stats.models:
        rows = ((model, f"{use.entries:,}", use) for model, use in stats.models.items())
        console.print(_uses(("model", "entries"), rows))
    if stats.last_runs:
        runs = ((run.started, run.output, run) for run in stats.last_runs)
        console.print(_uses(("last runs", "output"), runs))


def _facts(stats: CacheStats) -> Iterator[tuple[str, str]]:
    life = stats.life
    rate = "" if life.hit_rate is None else f" ({_rate(life)})"
    yield "entries", f"{stats.entries:,} in {short_size(stats.size_bytes)}"
    yield "ages", ", ".join(_ages(stats)) or "-"
    yield "hits", f"{life.hits:,} of {life.hits + life.misses:,} lookups{rate}"
    yield "shared calls", f"{life.deduped:,} rows"
    yield "saved", f"{life.saved_tokens:,} tokens, ${life.saved_usd:,.4f}"
    yield "stored", f"{stats.stored:,}, {stats.evicted:,} evicted, {stats.refused:,} refused"


def _ages(stats: CacheStats) -> Iterator[str]:
    for age, count in stats.ages.items():
        if count:
            yield f"{count:,} {'' if age == 'older' else '< '}{age}"


def _uses(heads: tuple[str, str], rows: Iterable[tuple[str, str, UseStats]]) -> Table:
    table = Table(box=None)
    table.add_column(heads[0])
    for column in (heads[1], "hits", "misses", "rate", "saved tokens", "saved $"):
        table.add_column(column, justify="right")
    for name, second, use in rows:
        cells = (
            name,
            second,
            f"{use.hits:,}",
            f"{use.misses:,}",
            _rate(use),
            f"{use.saved_tokens:,}",
            f"{use.saved_usd:,.4f}",
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _rate(use: UseStats) -> str:
    return "-" if use.hit_rate is None else f"{use.hit_rate:.1%}"
