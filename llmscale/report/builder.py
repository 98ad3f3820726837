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
    unconfirmed_usd: float = 0.0  # beside `spend`: at most, for calls whose outcome is unknown


class RunFacts(NamedTuple):
    """What is known of this run beside its numbers. Mappings are JSON."""

    inputs: Sequence[str]
    output: str
    started: datetime
    wall_s: float
    exit_code: int
    cache_mode: str
    store: Mapping[str, int] | None  # counts of the cache; None: no cache
    endpoints: Mapping[str, Mapping[str, Any]]  # trips and limits, by name
    bottleneck: Mapping[str, Any]
    documents: Mapping[str, Any] | None = None  # the files that were embedded; None: rows
    alerts: Sequence[Mapping[str, Any]] = ()  # rules that tripped
    estimate: Mapping[str, Any] | None = None  # the saved estimate, and how far the run is off


def build(stats: Stats, job: JobFacts, run: RunFacts) -> dict[str, Any]:
    """Return the report as JSON. All numbers but those under `job` are of this run."""
    rows = stats.rows()
    by_model = stats.calls_by_model()
    return {
        "schema": SCHEMA_VERSION,
        "llmscale": __version__,
        "inputs": list(run.inputs),
        "output": run.output,
        "started": run.started.isoformat(timespec="seconds"),
        "wall_s": round(run.wall_s, 3),
        "exit_code": run.exit_code,
        "rows": {
            "total": job.total,
            "kept": job.kept,
            **rows.summary(),
            "pending": max(0, job.total - job.kept - stats.done),
        },
        "rows_per_s": round(stats.done / run.wall_s, 3) if run.wall_s else None,
        "calls": stats.calls().summary(),
        "cache": _cache(stats, run.cache_mode, run.store),
        "batches": stats.batches.summary(),
        "documents": None if run.documents is None else dict(run.documents),
        "models": {
            model: {"rows": counted.summary(), "calls": by_model.get(model, Calls()).summary()}
            for model, counted in stats.rows_by_model().items()
        },
        "endpoints": {
            name: {**calls.summary(), **run.endpoints[name]}
            for name, calls in stats.calls_by_endpoint().items()
        },
        "users": stats.users.summary(),
        "bottleneck": dict(run.bottleneck),
        "timeline": stats.series.summary(),
        "alerts": [dict(alert) for alert in run.alerts],
        "max_repeated_calls": job.max_repeated_calls,
        "job": _job(job),
        "estimate": None if run.estimate is None else dict(run.estimate),
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


def _cache(stats: Stats, mode: str, store: Mapping[str, int] | None) -> dict[str, Any]:
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
