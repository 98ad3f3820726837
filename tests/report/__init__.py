"""Reports to look at: stats of rows that never were, and what is built of them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import convert, to_builtins

from llmscale.accounting.run_numbers import EndpointLimits, EndpointState, Report, StoreCounts
from llmscale.accounting.stats import Bottleneck, Spend, Stats
from llmscale.core.records import Failure, FailureKind, Outcome, Reply, Request, Row, Usage
from llmscale.observe.bottleneck import Settings, analyze
from llmscale.report.builder import JobFacts, RunFacts, build

STORE = StoreCounts(stored=1, dropped=2, evicted=3, refused=4, errors=5)
AT_ENDPOINT = EndpointState(0, EndpointLimits())


def add_row(
    stats: Stats,
    model: str,
    *failures: FailureKind,
    is_answered: bool = True,
    cost_usd: float | None = 0.5,
    truncated: bool = False,
) -> None:
    """Count a row that failed this often and was then answered, or was not."""
    request = Request(model=model, messages=[])
    reply = Reply(
        text="x",
        finish_reason="length" if truncated else "stop",
        model=model,
        usage=Usage(10, 20),
        cost_usd=cost_usd,
    )
    row = Row(index=0, request=request)
    for attempt, kind in enumerate(failures, 1):
        stats.calls_at(f"at {model}", model).add(0.5, [], kind, attempt=attempt)
    if is_answered:
        attempt = len(failures) + 1
        stats.calls_at(f"at {model}", model).add(0.5, [reply], attempt=attempt)
        stats.add_outcome(Outcome(row=row, reply=reply, latency_s=1.0))
    else:
        failure = Failure(kind=failures[-1], message="")
        stats.add_outcome(Outcome(row=row, failure=failure))


def add_bad_row(stats: Stats) -> None:
    failure = Failure(kind="bad_row", message="")
    stats.add_outcome(Outcome(row=Row(index=0, failure=failure), failure=failure))


def add_row_for_nothing(stats: Stats, model: str, *, cached: bool) -> None:
    """Count a row that was answered by the cache, or by the call of another row."""
    reply = Reply(
        text="x",
        finish_reason="stop",
        model=model,
        usage=Usage(10, 20),
        cost_usd=0.5,
        cached=cached,
        deduped=not cached,
    )
    request = Request(model=model, messages=[])
    stats.add_outcome(Outcome(row=Row(index=0, request=request), reply=reply))


def built(
    stats: Stats,
    total: int,
    wall_s: float = 2.0,
    store: StoreCounts | None = None,
    held_s: Mapping[Bottleneck, float] | None = None,
    **facts: Any,
) -> Any:
    """Return a report as the JSON that its file has."""
    facts_ = JobFacts(**{"total": total, "spend": Spend(1, 2, 3, 4.0, 5), **facts})
    run = RunFacts(
        inputs=["in.jsonl"],
        output="out.jsonl",
        started=datetime(2026, 1, 2, 3, 4, 5, 678, UTC),
        wall_s=wall_s,
        exit_code=1,
        cache_mode="on",
        store=store,
        endpoints=dict.fromkeys(stats.calls_by_endpoint(), AT_ENDPOINT),
        bottleneck=analyze(held_s or {}, wall_s, Settings(64)),
    )
    return to_builtins(build(stats, facts_, run))


def typed(report: Any) -> Report:
    """Return the report that JSON is."""
    return convert(report, Report)


def mixed_stats() -> Stats:
    """Two models, a retry, a failure, a cut answer and a bad row."""
    stats = Stats()
    add_row(stats, "sim/a")
    add_row(stats, "sim/a", "rate_limited", truncated=True)
    add_row(stats, "sim/a", "timeout", "timeout", is_answered=False)
    add_row(stats, "sim/b", cost_usd=None)
    add_bad_row(stats)
    return stats
