"""A report, made of the numbers of `Stats` and of what else is known of a run."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec.structs import asdict

from llmscale import __version__
from llmscale.accounting.forecast.drift_summary import DriftSummary
from llmscale.accounting.run_numbers import (
    SCHEMA_VERSION,
    AlertRecord,
    BottleneckSummary,
    CacheUse,
    DocumentCounts,
    EndpointState,
    EndpointUse,
    JobCosts,
    ModelNumbers,
    Report,
    ReportedRows,
    StoreCounts,
)
from llmscale.accounting.stats import Calls, Spend, Stats


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
    """What is known of this run beside its numbers."""

    inputs: Sequence[str]
    output: str
    started: datetime
    wall_s: float
    exit_code: int
    cache_mode: str
    store: StoreCounts | None  # None: no cache
    endpoints: Mapping[str, EndpointState]  # by name
    bottleneck: BottleneckSummary
    documents: DocumentCounts | None = None  # the files that were embedded; None: rows
    alerts: Sequence[AlertRecord] = ()  # rules that tripped
    estimate: DriftSummary | None = None  # the saved estimate, and how far the run is off


def build(stats: Stats, job: JobFacts, run: RunFacts) -> Report:
    """Return the report."""
    by_model = stats.calls_by_model()
    return Report(
        schema=SCHEMA_VERSION,
        llmscale=__version__,
        inputs=list(run.inputs),
        output=run.output,
        started=run.started.isoformat(timespec="seconds"),
        wall_s=round(run.wall_s, 3),
        exit_code=run.exit_code,
        rows=ReportedRows(
            **asdict(stats.rows().summary()),
            total=job.total,
            kept=job.kept,
            pending=max(0, job.total - job.kept - stats.done),
        ),
        failures=stats.failures.summary(),
        rows_per_s=round(stats.done / run.wall_s, 3) if run.wall_s else None,
        calls=stats.calls().summary(),
        cache=_cache(stats, run),
        batches=stats.batches.summary(),
        documents=run.documents,
        models={
            model: ModelNumbers(counted.summary(), by_model.get(model, Calls()).summary())
            for model, counted in stats.rows_by_model().items()
        },
        endpoints={
            name: EndpointUse(**asdict(calls.summary()), **asdict(run.endpoints[name]))
            for name, calls in stats.calls_by_endpoint().items()
        },
        users=stats.users.summary(),
        bottleneck=run.bottleneck,
        timeline=stats.series.summary(),
        alerts=list(run.alerts),
        max_repeated_calls=job.max_repeated_calls,
        job=_job(job),
        estimate=run.estimate,
    )


def _job(facts: JobFacts) -> JobCosts:
    cap_usd, used_usd = facts.max_cost_usd, facts.spend.cost_usd + facts.unconfirmed_usd
    return JobCosts(
        runs=facts.runs,
        spend=facts.spend,
        unconfirmed_usd=round(facts.unconfirmed_usd, 9),
        max_cost_usd=cap_usd,
        left_usd=None if cap_usd is None else round(max(0.0, cap_usd - used_usd), 9),
    )


def _cache(stats: Stats, run: RunFacts) -> CacheUse:
    lookups, rows = stats.lookups(), stats.rows()
    asked = lookups.hits + lookups.misses
    return CacheUse(
        mode=run.cache_mode if run.store is not None else "off",
        hits=lookups.hits,
        misses=lookups.misses,
        hit_rate=round(lookups.hits / asked, 6) if asked else None,
        deduped=rows.deduped,
        saved_tokens=rows.saved_tokens,
        saved_usd=round(rows.saved_usd, 9),
        saved_by_cache=rows.saved_by_cache.summary(),
        saved_by_sharing=rows.saved_by_sharing.summary(),
        **({} if run.store is None else asdict(run.store)),
    )


def encode(report: Report) -> bytes:
    """Return the bytes of `report.json`."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
