"""`llmscale estimate` on a terminal: a table of now and scaled, and what follows from it."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.commands.estimate.result import (
    CapCoverage,
    EstimateResult,
    ProjectionResult,
    RowCounts,
    SampleResult,
    Savings,
)
from llmscale.commands.limit_bounds import Binding
from llmscale.core.printable import printable
from llmscale.report.figures import between, dollars, hours


def print_estimate(found: EstimateResult) -> None:
    """Print an estimate on standard output."""
    console = Console()
    console.print(Text(printable(_heading(found.rows)), style="bold"), soft_wrap=True)
    table = Table(box=None)
    table.add_column("")
    for column in ("this run", f"{found.scaled.scale:g}x the rows"):
        table.add_column(column, justify="right")
    for label, *cells in zip(_LABELS, _cells(found.now), _cells(found.scaled), strict=True):
        table.add_row(label, *(Text(cell) for cell in cells))
    console.print(table)
    for sentence in _sentences(found):
        console.print(Text(printable(sentence)), soft_wrap=True)


def _heading(rows: RowCounts) -> str:
    facts = [f"{rows.total:,} rows"]
    for count, label in (
        (rows.bad, "invalid"),
        (rows.answered, "already answered"),
        (rows.cached, "cached"),
        (rows.repeated, "repeat an earlier row"),
    ):
        if count:
            facts.append(f"{count:,} {label}")
    return "; ".join(facts)


_LABELS = ("rows", "sent", "tokens in", "tokens out", "dollars", "time")


def _cells(projection: ProjectionResult) -> list[str]:
    whole = (projection.asked, projection.input_tokens, projection.output_tokens)
    return [
        _whole(projection.rows),
        *(between(interval, _whole) for interval in whole),
        between(projection.usd, dollars),
        between(projection.hours, hours),
    ]


def _sentences(found: EstimateResult) -> Iterator[str]:
    now, scaled = _limited_by(found.now.binds), _limited_by(found.scaled.binds)
    at_scale = f"at {found.scaled.scale:g}x"
    yield f"{now}, now and {at_scale}" if now == scaled else f"{now}; {at_scale} {scaled}"
    yield _of_method(found.sample)
    yield from _of_savings(found.saved)
    yield from _of_unknown_cost(found)
    if found.unbounded and found.method == "counts":
        yield f"some rows have no upper bound: {found.unbounded}"
    if found.unanswered:
        yield f"no row of the sample was answered by {', '.join(found.unanswered)}"
    yield from _of_cap(found.max_cost)


def _limited_by(binding: Binding | None) -> str:
    return "no known limit" if binding is None else f"limited by {binding}"


def _of_method(sample: SampleResult | None) -> str:
    if sample is None:
        return (
            "from token counts alone, nothing was sent: length and latency of answers are unknown; "
            "--sample 50 sends some rows and caches their answers"
        )
    cost = "cost unknown" if sample.cost_usd is None else dollars(sample.cost_usd)
    return (
        f"from a sample of {sample.rows:,} rows ({sample.failed:,} failed): "
        f"{sample.attempts:,} calls ({cost}), {sample.kept:,} answers cached"
    )


def _of_savings(saved: Savings) -> Iterator[str]:
    cache, repeats = saved.cache, saved.repeats
    if cache.rows:
        worth = "" if cache.usd is None else f", {dollars(cache.usd)}"
        yield f"the cache saves {cache.rows:,} calls, {cache.tokens:,} tokens{worth}"
    if repeats.rows:
        worth = "" if repeats.usd is None else f", about {dollars(repeats.usd)}"
        yield f"{repeats.rows:,} rows share the call of another row{worth}"


def _of_unknown_cost(found: EstimateResult) -> Iterator[str]:
    if found.unpriced:
        yield (
            f"cost unknown: no price for {', '.join(found.unpriced)}; add it to llmscale.toml as a "
            "[[price]] with model, input and output (dollars per million tokens), "
            "see llmscale help cost"
        )
    elif found.sample and found.now.usd.low is None and not found.unanswered:
        yield "cost unknown: the answers of the sample report no tokens"


def _of_cap(cap: CapCoverage | None) -> Iterator[str]:
    if cap is not None and cap.covers is not True:
        verb = "may not" if cap.covers is None else "does not"
        yield f"what is left of --max-cost ({dollars(cap.left_usd)}) {verb} cover this run"


def _whole(value: float) -> str:
    return f"{value:,.0f}"
