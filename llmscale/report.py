"""What happened, as `report.json` and as a short table: the numbers of `Stats` in their final form.

Schema of `report.json`, version 1: README, "The report". Fields are added, never renamed.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from llmscale import __version__
from llmscale.logs import printable
from llmscale.stats import Calls, Spend, Stats

SCHEMA_VERSION = 1


class JobFacts(NamedTuple):
    """What is known of the job beside the numbers of this run."""

    total: int  # rows
    spend: Spend  # of all runs
    kept: int = 0  # rows answered by earlier runs
    runs: int = 1
    paid_again_at_most: int = 0
    max_cost_usd: float | None = None  # of all runs together; None: no cap
    unseen_usd: float = 0.0  # beside `spend`: for calls whose end nobody saw, at most


def build(
    stats: Stats,
    facts: JobFacts,
    *,
    inputs: list[str],
    output: str,
    started: datetime,
    wall_s: float,
    exit_code: int,
    cache_mode: str,
    store: dict[str, int] | None,
    limits: dict[str, dict[str, float | None]] | None = None,
    estimate: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the report as JSON. All numbers but those under `job` are of this run.

    `limits`: of each endpoint, as set, as the provider says, and as learned from its refusals.
    `estimate`: what was told of the job before it ran, and how far the run is off.
    """
    rows = stats.rows()
    by_model = stats.calls_by_model()
    return {
        "schema": SCHEMA_VERSION,
        "llmscale": __version__,
        "inputs": inputs,
        "output": output,
        "started": started.isoformat(timespec="seconds"),
        "wall_s": round(wall_s, 3),
        "exit_code": exit_code,
        "rows": {
            "total": facts.total,
            "kept": facts.kept,
            **rows.summary(),
            "pending": max(0, facts.total - facts.kept - stats.done),
        },
        "rows_per_s": round(stats.done / wall_s, 3) if wall_s else None,
        "calls": stats.calls().summary(),
        "cache": _cache(stats, cache_mode, store),
        "lots": stats.lots.summary(),
        "models": {
            model: {"rows": counted.summary(), "calls": by_model.get(model, Calls()).summary()}
            for model, counted in stats.rows_by_model().items()
        },
        "endpoints": {
            name: calls.summary() | {"limits": (limits or {}).get(name)}
            for name, calls in stats.calls_by_endpoint().items()
        },
        "paid_again_at_most": facts.paid_again_at_most,
        "job": _job(facts),
        "estimate": estimate,
    }


def _job(facts: JobFacts) -> dict[str, Any]:
    """Return what all runs have cost; what is left is null without a cap."""
    cap_usd, used_usd = facts.max_cost_usd, facts.spend.cost_usd + facts.unseen_usd
    return {
        "runs": facts.runs,
        "spend": msgspec.structs.asdict(facts.spend),
        "unseen_usd": round(facts.unseen_usd, 9),
        "max_cost_usd": cap_usd,
        "left_usd": None if cap_usd is None else round(max(0.0, cap_usd - used_usd), 9),
    }


def _cache(stats: Stats, mode: str, store: dict[str, int] | None) -> dict[str, Any]:
    """Return what the cache has done; its hit rate is null without look-ups."""
    lookups, rows = stats.lookups(), stats.rows()
    asked = lookups.hits + lookups.misses
    return {
        "mode": mode if store is not None else "off",
        "hits": lookups.hits,
        "misses": lookups.misses,
        "hit_rate": round(lookups.hits / asked, 6) if asked else None,
        "deduped": rows.deduped,
        "saved_tokens": rows.saved_tokens,
        "saved_usd": round(rows.saved_usd, 9),
        **(store or {}),
    }


def encode(report: dict[str, Any]) -> bytes:
    """Return the bytes of `report.json`."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def default_path(output: Path) -> Path:
    """Return where the report of an output goes: `x.results.jsonl` has `x.report.json`."""
    name = output.name
    for ending in (".results.jsonl", ".jsonl", ".json"):
        if name.endswith(ending):
            return output.with_name(name.removesuffix(ending) + ".report.json")
    return output.with_name(name + ".report.json")


def summary_line(report: dict[str, Any]) -> str:
    """Return the report in one line, for a log."""
    rows, calls = report["rows"], report["calls"]
    parts = [
        f"{rows['kept'] + rows['answered']} of {rows['total']} rows answered",
        f"{rows['failed']} failed",
        f"{_tokens(calls):,} tokens",
        _dollars(calls),
        f"{report['wall_s']:.1f} s",
    ]
    if rows["cached"] or rows["deduped"]:
        parts.insert(2, f"{rows['cached']} from the cache, {rows['deduped']} shared a call")
    if rows["truncated"]:
        parts.insert(2, f"{rows['truncated']} cut at max_tokens")
    return ", ".join(parts)


def print_table(report: dict[str, Any]) -> None:
    """Show the report on stderr as a small table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="llmscale", title_justify="left", title_style="bold", box=None)
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for model, part in report["models"].items():
        cells = _cells(part["rows"], part["calls"], report["wall_s"])
        table.add_row(*(Text(printable(cell)) for cell in (model, *cells)))
    if len(report["models"]) != 1:
        cells = _cells(report["rows"], report["calls"], report["wall_s"])
        table.add_row("all", *cells, style="bold")
    console = Console(stderr=True)
    console.print(table)
    for line in _remarks(report):
        console.print(Text(printable(line)))


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
    retries = sum(calls["failures"].values())
    return [
        f"{rows['answered']:,}",
        f"{rows['failed']:,}",
        f"{retries:,}",
        f"{done / wall_s:,.1f}" if wall_s else "-",
        _seconds(latency["p50"]),
        _seconds(latency["p99"]),
        f"{_tokens(calls):,}",
        _dollars(calls),
    ]


def _remarks(report: dict[str, Any]) -> list[str]:
    """What a person should know and the table does not say."""
    rows = report["rows"]
    remarks = []
    if rows["kept"]:
        remarks.append(f"{rows['kept']:,} rows were answered by earlier runs")
    if rows["cached"] or rows["deduped"]:
        cache = report["cache"]
        remarks.append(
            f"{rows['cached']:,} rows came from the cache and {rows['deduped']:,} shared a call: "
            f"{cache['saved_tokens']:,} tokens and ${cache['saved_usd']:.4f} saved"
        )
    if rows["truncated"]:
        remarks.append(
            f"{rows['truncated']:,} answers were cut at max_tokens (finish_reason length)"
        )
    for kind, count in rows["failures"].items():
        remarks.append(f"{count:,} rows failed: {kind}")
    if rows["pending"]:
        remarks.append(f"{rows['pending']:,} rows are pending; the same command resumes")
    if report["paid_again_at_most"]:
        count = report["paid_again_at_most"]
        remarks.append(f"{count:,} rows were in flight when a run died: paid again at most")
    return remarks


def _tokens(calls: dict[str, Any]) -> int:
    tokens = calls["tokens"]
    return int(tokens["input_tokens"] + tokens["output_tokens"])


def _dollars(calls: dict[str, Any]) -> str:
    cost_usd = calls["cost_usd"]
    if cost_usd is None:
        return "cost unknown"
    at_least = "at least " if calls["unpriced"] else ""
    return f"{at_least}${cost_usd:.4f}" if cost_usd else f"{at_least}$0"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"
