"""What the tests of JUnit files and summaries share: the report of a run, made of its numbers."""

from datetime import UTC, datetime

from llmscale.accounting.run_numbers import EndpointLimits, EndpointState, Report
from llmscale.accounting.stats import Stats
from llmscale.observe.bottleneck import Settings, analyze
from llmscale.report.builder import JobFacts, RunFacts, build


def report_of(
    stats: Stats, total: int, *, exit_code: int = 1, output: str = "out.jsonl", kept: int = 0
) -> Report:
    """Return the report of a run of two seconds."""
    run = RunFacts(
        inputs=["in.jsonl"],
        output=output,
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        wall_s=2.0,
        exit_code=exit_code,
        cache_mode="on",
        store=None,
        endpoints=dict.fromkeys(stats.calls_by_endpoint(), EndpointState(0, EndpointLimits())),
        bottleneck=analyze({}, 2.0, Settings(64)),
    )
    return build(stats, JobFacts(total=total, spend=stats.spend(), kept=kept), run)
