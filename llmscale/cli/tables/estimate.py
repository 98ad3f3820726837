"""An estimate as a table for a person: now and scaled, and what follows from it in sentences."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.core.printable import printable
from llmscale.report.words import between, dollars, hours, in_words


def print_estimate(found: dict[str, Any]) -> None:
    """Show what `commands.estimating.estimate` returned, on standard output."""
    console = Console()
    console.print(Text(printable(_heading(found)), style="bold"), soft_wrap=True)
    table = Table(box=None)
    table.add_column("")
    for column in ("this run", f"{found['scaled']['scale']:g}x the rows"):
        table.add_column(column, justify="right")
    for label, cells in _rows(found["now"], found["scaled"]):
        table.add_row(label, *(Text(cell) for cell in cells))
    console.print(table)
    for line in _sentences(found):
        console.print(Text(printable(line)), soft_wrap=True)


def _heading(found: dict[str, Any]) -> str:
    rows = found["rows"]
    facts = [f"{rows['total']:,} rows"]
    for name, label in (
        ("bad", "can't be used"),
        ("answered", "are answered already"),
        ("cached", "are in the cache"),
        ("repeated", "ask the same as others"),
    ):
        if rows[name]:
            facts.append(f"{rows[name]:,} {label}")
    return "; ".join(facts)


def _rows(now: dict[str, Any], scaled: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    both = (now, scaled)
    yield "rows", [_whole(part["rows"]) for part in both]
    for name, label, show in (
        ("asked", "asked", _whole),
        ("input_tokens", "tokens in", _whole),
        ("output_tokens", "tokens out", _whole),
        ("usd", "dollars", dollars),
        ("hours", "time", hours),
    ):
        yield label, [between(part[name], show) for part in both]


def _sentences(found: dict[str, Any]) -> Iterator[str]:
    now, scaled = (in_words(found[part]["binds"]) for part in ("now", "scaled"))
    at_scale = f"at {found['scaled']['scale']:g}x"
    yield f"{now}, {at_scale} too" if now == scaled else f"{now}; {at_scale} {scaled}"
    yield from _of_sample(found)
    saved = found["saved"]
    if saved["cache"]["rows"]:
        cache = saved["cache"]
        worth = "" if cache["usd"] is None else f", {dollars(cache['usd'])}"
        yield f"the cache saves {cache['rows']:,} calls, {cache['tokens']:,} tokens{worth}"
    if saved["repeats"]["rows"]:
        repeats = saved["repeats"]
        worth = "" if repeats["usd"] is None else f", about {dollars(repeats['usd'])}"
        yield f"{repeats['rows']:,} rows share the call of another{worth}"
    if found["unpriced"]:
        models = ", ".join(found["unpriced"])
        yield (
            f"the price of {models} is not known, and so the dollars are not; set it in "
            "llmscale.toml: [[price]], model, input and output in dollars for a million tokens"
        )
    elif found["sample"] and found["now"]["usd"]["low"] is None and not found["unanswered"]:
        yield "answers of the sample report no tokens, and so the dollars are not known"
    if found["unbounded"] and found["method"] == "counts":
        yield f"what the rows take at most is not known; of one of them, {found['unbounded']}"
    if found["unanswered"]:
        yield f"no row of the sample was answered by {', '.join(found['unanswered'])}"
    yield from _of_cap(found["max_cost"])


def _of_sample(found: dict[str, Any]) -> Iterator[str]:
    sample = found["sample"]
    if sample is None:
        yield (
            "by token counts alone, nothing was sent: how long answers are and how long they take "
            "is not known; --sample 50 asks some rows, and keeps their answers in the cache"
        )
        return
    cost = "cost unknown" if sample["cost_usd"] is None else dollars(sample["cost_usd"])
    yield (
        f"by a sample of {sample['rows']:,} rows, {sample['failed']:,} of which failed; it made "
        f"{sample['attempts']:,} calls ({cost}), and {sample['kept']:,} answers are in the cache"
    )


def _of_cap(cap: dict[str, Any] | None) -> Iterator[str]:
    if cap is not None and cap["covers"] is not True:
        sure = "may not" if cap["covers"] is None else "does not"
        yield f"what is left of --max-cost ({dollars(cap['left_usd'])}) {sure} cover the run"


def _whole(value: float) -> str:
    return f"{value:,.0f}"
