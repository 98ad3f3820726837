"""The result of `llmscale estimate`, as it is printed and written as JSON."""

from typing import Literal

import msgspec

from llmscale.accounting.forecast.interval import Interval
from llmscale.accounting.forecast.prediction import wilson_interval
from llmscale.accounting.forecast.saved_estimate import Sample
from llmscale.accounting.stats import Calls, Latency
from llmscale.accounting.stats.summaries import LatencySummary
from llmscale.commands.estimate.job_state import JobState
from llmscale.commands.estimate.projection import Estimate, Projection
from llmscale.commands.estimate.token_rates import token_rates
from llmscale.commands.limit_bounds import Binding, Bound

MAX_BOUNDS = 8  # that are listed


class RowCounts(msgspec.Struct, frozen=True):
    """Rows of the input."""

    total: int
    bad: int  # can't be parsed
    answered: int  # in OUT
    cached: int
    repeated: int  # make the same request as an earlier row


class TimedBinding(Binding, frozen=True):
    """A limit, and how long it makes its rows take."""

    hours: float


class ProjectionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will take now, or with `scale` times the rows."""

    scale: float
    rows: int
    asked: Interval  # rows that are sent
    input_tokens: Interval
    output_tokens: Interval
    usd: Interval
    hours: Interval
    binds: TimedBinding | None  # None: nothing known limits the run
    bounds: list[TimedBinding]  # slowest first


class Saving(msgspec.Struct, frozen=True):
    """Rows that cost nothing. None: unknown."""

    rows: int
    tokens: int | None
    usd: float | None


class Savings(msgspec.Struct, frozen=True):
    """Rows that the cache answers, and rows that share the call of another row."""

    cache: Saving
    repeats: Saving


class CapCoverage(msgspec.Struct, frozen=True):
    """`--max-cost`, what is left of it, and whether that covers the run (None: not certain)."""

    usd: float
    left_usd: float
    covers: bool | None


class ModelResult(msgspec.Struct, frozen=True):
    """The rows of one model."""

    rows: int
    asked: int
    usd: Interval


class SampleResult(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of the sample, and the calls that were made for it this time."""

    rows: int
    kept: int  # answers that the run will find in the cache
    truncated: int
    failed: int
    failed_share: Interval
    failures: dict[str, int]  # by kind
    latency_s: LatencySummary
    attempts: int
    cost_usd: float | None


class EstimateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a job will take: now, and with more rows."""

    inputs: list[str]
    output: str
    method: Literal["counts", "sample"]
    rows: RowCounts
    now: ProjectionResult
    scaled: ProjectionResult
    saved: Savings
    max_cost: CapCoverage | None  # None: no cap
    models: dict[str, ModelResult]
    unpriced: list[str]  # models without a known price
    unanswered: list[str]  # models that answered no row of the sample
    unbounded: str | None  # why nothing bounds the tokens of some row
    sample: SampleResult | None


def result_of(job: JobState, estimate: Estimate, calls: Calls) -> EstimateResult:
    """Return the result. `calls`: those that were made for the sample this time."""
    sample, columns = estimate.sample, job.columns
    return EstimateResult(
        inputs=[source.name for source in job.sources],
        output=job.output,
        method="counts" if sample is None else "sample",
        rows=RowCounts(
            total=len(columns.is_row),
            bad=int((~columns.is_row).sum()),
            answered=int(columns.answered.sum()),
            cached=job.counts.cache_savings.rows,
            repeated=int(columns.repeated.sum()),
        ),
        now=_projection(estimate.now),
        scaled=_projection(estimate.scaled),
        saved=_savings(job, estimate),
        max_cost=_cap_coverage(job, estimate),
        models=_models(job, estimate),
        unpriced=unpriced(job, estimate),
        unanswered=[] if sample is None else _unanswered(job, sample),
        unbounded=job.counts.unbounded,
        sample=None if sample is None else _sample(sample, calls),
    )


def unpriced(job: JobState, estimate: Estimate) -> list[str]:
    """Return the models whose cost is unknown because their price is."""
    usd = estimate.scaled.forecast.usd_by_model
    unknown = [model for model in job.counts.models if usd[model].low is None]
    return sorted(m for m in unknown if token_rates(job.config.cost, job.models, m) is None)


def _unanswered(job: JobState, sample: Sample) -> list[str]:
    models = job.columns.models
    answering = {models[o.index] for o in sample.observations if o.failure is None}
    return sorted(m for n, m in enumerate(job.counts.models) if n not in answering)


def _projection(projection: Projection) -> ProjectionResult:
    forecast, bounds = projection.forecast, [_timed(bound) for bound in projection.bounds]
    return ProjectionResult(
        scale=projection.scale,
        rows=round(projection.rows),
        asked=forecast.asked.rounded(),
        input_tokens=forecast.input_tokens.rounded(),
        output_tokens=forecast.output_tokens.rounded(),
        usd=forecast.usd.rounded(9),
        hours=projection.hours.rounded(6),
        binds=bounds[0] if bounds else None,
        bounds=bounds[:MAX_BOUNDS],
    )


def _timed(bound: Bound) -> TimedBinding:
    binding = bound.binding
    return TimedBinding(binding.scope, binding.name, binding.budget, round(bound.minutes / 60, 6))


def _models(job: JobState, estimate: Estimate) -> dict[str, ModelResult]:
    columns, models = job.columns, {}
    for number, model in enumerate(job.counts.models):
        own = columns.models == number
        models[model] = ModelResult(
            rows=int((own & columns.is_row).sum()),
            asked=int((own & columns.asked).sum()),
            usd=estimate.now.forecast.usd_by_model[model].rounded(9),
        )
    return models


def _savings(job: JobState, estimate: Estimate) -> Savings:
    """Return what is not paid for; repeated rows save about the mean of the rows that are sent."""
    cached, forecast = job.counts.cache_savings, estimate.now.forecast
    repeated = int(job.columns.repeated.sum())
    asked, usd = forecast.asked.estimate, forecast.usd.estimate
    times = repeated / asked if asked and estimate.sample is not None else None
    tokens = (forecast.input_tokens.estimate or 0.0) + (forecast.output_tokens.estimate or 0.0)
    return Savings(
        Saving(cached.rows, cached.tokens, cached.known_usd),
        Saving(
            repeated,
            None if times is None else round(tokens * times),
            None if times is None or usd is None else round(usd * times, 9),
        ),
    )


def _cap_coverage(job: JobState, estimate: Estimate) -> CapCoverage | None:
    cap_usd = job.config.cost.max_cost
    if cap_usd is None:
        return None
    left_usd = max(0.0, cap_usd - job.spent_usd)
    usd, covers = estimate.now.forecast.usd, None
    if usd.high is not None and usd.high <= left_usd:
        covers = True
    elif usd.low is not None and usd.low > left_usd:
        covers = False
    return CapCoverage(cap_usd, round(left_usd, 9), covers)


def _sample(sample: Sample, calls: Calls) -> SampleResult:
    observations = sample.observations
    failures = [o.failure for o in observations if o.failure is not None]
    latency, usd = Latency(), calls.known_cost_usd
    for observation in observations:
        if observation.latency_s is not None:
            latency.add(observation.latency_s)
    return SampleResult(
        rows=len(observations),
        kept=sum(o.kept for o in observations),
        truncated=sum(o.truncated for o in observations),
        failed=len(failures),
        failed_share=wilson_interval(len(failures), len(observations)).rounded(6),
        failures={kind: failures.count(kind) for kind in sorted(set(failures))},
        latency_s=latency.summary(),
        attempts=calls.attempts,
        cost_usd=None if usd is None else round(usd, 9),
    )
