"""`report.json`: the numbers of `Stats` in their final form.

Its schema, version 1: `llmscale help report`. Fields are added, never renamed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from llmscale import __version__
from llmscale.accounting.stats import Calls, Spend, Stats

SCHEMA_VERSION = 1


class JobFacts(NamedTuple):
    """What is known of the job beside the numbers of this run."""

    total: int  # rows
    spend: Spend  # of all runs
    kept: int = 0  # rows answered by earlier runs
    runs: int = 1
    max_repeated_calls: int = 0
    max_cost_usd: float | None = None  # of all runs together; None: no cap
    unconfirmed_usd: float = 0.0  # beside `spend`: for calls whose end nobody saw, at most


def build(
    stats: Stats,
    facts: JobFacts,
    *,
    inputs: Sequence[str],
    output: str,
    started: datetime,
    wall_s: float,
    exit_code: int,
    cache_mode: str,
    store: dict[str, int] | None,
    endpoints: Mapping[str, Mapping[str, Any]],
    verdict: Mapping[str, Any],
    documents: Mapping[str, Any] | None = None,
    alerts: Sequence[Mapping[str, Any]] = (),
    estimate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the report as JSON. All numbers but those under `job` are of this run.

    `endpoints`: what each says of itself; `verdict`: what held the run back;
    `documents`: what was read to be embedded, None where there were rows; `alerts`: the rules
    that have tripped; `estimate`: what was told before the run, and how far the run is off.
    """
    rows = stats.rows()
    by_model = stats.calls_by_model()
    return {
        "schema": SCHEMA_VERSION,
        "llmscale": __version__,
        "inputs": list(inputs),
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
        "batches": stats.batches.summary(),
        "documents": None if documents is None else dict(documents),
        "models": {
            model: {"rows": counted.summary(), "calls": by_model.get(model, Calls()).summary()}
            for model, counted in stats.rows_by_model().items()
        },
        "endpoints": {
            name: {**calls.summary(), **endpoints[name]}
            for name, calls in stats.calls_by_endpoint().items()
        },
        "users": stats.users.summary(),
        "bottleneck": dict(verdict),
        "timeline": stats.series.summary(),
        "alerts": [dict(alert) for alert in alerts],
        "max_repeated_calls": facts.max_repeated_calls,
        "job": _job(facts),
        "estimate": None if estimate is None else dict(estimate),
    }


def _job(facts: JobFacts) -> dict[str, Any]:
    """Return what all runs have cost; what is left is null without a cap."""
    cap_usd, used_usd = facts.max_cost_usd, facts.spend.cost_usd + facts.unconfirmed_usd
    return {
        "runs": facts.runs,
        "spend": msgspec.structs.asdict(facts.spend),
        "unconfirmed_usd": round(facts.unconfirmed_usd, 9),
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
        "saved_by_cache": rows.saved_by_cache.summary(),
        "saved_by_sharing": rows.saved_by_sharing.summary(),
        **(store or {}),
    }


def encode(report: dict[str, Any]) -> bytes:
    """Return the bytes of `report.json`."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
