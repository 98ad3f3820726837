"""The required checks of a plan: one answer "no" means not ready, with exit code 1."""

import math

from msgspec.structs import replace

from llmscale.accounting.forecast.interval import Interval
from llmscale.commands.estimate.result import unpriced
from llmscale.commands.plan.checks import Check, PlanFacts
from llmscale.config import EndpointConfig
from llmscale.core.units import per_minute
from llmscale.providers import spec_of
from llmscale.report.figures import between, dollars, hours

BASELINE_SHARE = 0.1  # of the rows, for a baseline run


def required_checks(facts: PlanFacts) -> list[Check]:
    """Return the checks in the order of the checklist."""
    checks = (load, bottleneck, baseline, cost, cache, limits, overload)
    return [replace(check(facts), required=True) for check in checks]


def load(facts: PlanFacts) -> Check:
    """Check that the scaled job fits its limits and the hours it may take."""
    question = f"Does {facts.scale} fit the limits and {facts.hours:g} h?"
    interval, source = _hours(facts)
    evidence = f"{facts.scale} takes {between(interval, hours)}{source}"
    if interval.high is not None and interval.high <= facts.hours:
        return Check("load", question, "yes", evidence)
    if interval.low is not None and interval.low > facts.hours:
        evidence += f"; {_limited_by(facts)}"
        return Check("load", question, "no", evidence, _raise_binding_limit(facts))
    return Check("load", question, "unknown", evidence, facts.sample_command)


def bottleneck(facts: PlanFacts) -> Check:
    """Check that the bottleneck is known."""
    question = "Is the bottleneck known?"
    if facts.baseline is not None:
        evidence = f"earlier run: {facts.baseline.bottleneck.says}"
        return Check("bottleneck", question, "yes", evidence)
    if facts.estimate.scaled.bounds:
        return Check("bottleneck", question, "yes", _limited_by(facts))
    evidence = "no limits are set, and the latency of calls is unknown"
    return Check("bottleneck", question, "unknown", evidence, facts.sample_command)


def baseline(facts: PlanFacts) -> Check:
    """Check that there is a report of an earlier run of this job."""
    question, earlier, pace = "Is there a baseline run?", facts.baseline, facts.calls_per_s
    if earlier is None:
        rows = max(1, round(BASELINE_SHARE * len(facts.job.columns.is_row)))
        command = facts.command("run", limit=rows)
        return Check("baseline", question, "no", "no report of an earlier run", command)
    if pace is None:
        evidence = "the earlier run made no calls: every answer was cached"
        return Check("baseline", question, "unknown", evidence)
    p95_s, usd = earlier.calls.latency_s.p95, earlier.calls.cost_usd
    evidence = (
        f"{earlier.rows.answered + earlier.rows.failed:,} rows on {earlier.started}: "
        f"{pace:,.1f} calls/s, {earlier.rows.failed:,} failed, "
        f"p95 {'unknown' if p95_s is None else f'{p95_s:.2f} s'}, "
        f"{'cost unknown' if usd is None else dollars(usd)}"
    )
    return Check("baseline", question, "yes", evidence)


def cost(facts: PlanFacts) -> Check:
    """Check that the cost of the scaled job is known."""
    question, usd = f"Is the cost of {facts.scale} known?", facts.estimate.scaled.forecast.usd
    models = unpriced(facts.job, facts.estimate)
    if models:
        evidence = f"no price for {', '.join(models)}; add a [[price]], see llmscale help cost"
        return Check("cost", question, "no", evidence)
    shown = between(usd, dollars)
    if usd.high is None:
        return Check("cost", question, "unknown", shown, facts.sample_command)
    source = "a sample" if facts.estimate.sample is not None else "token counts alone"
    return Check("cost", question, "yes", f"{shown}, from {source}")


def cache(facts: PlanFacts) -> Check:
    """Check that answers are cached."""
    mode, ttl = facts.job.config.cache.mode, facts.job.config.cache.ttl
    question = "Is the cache on?"
    if mode == "off":
        evidence = "off: repeated requests are paid for each time"
        return Check("cache", question, "no", evidence, facts.command("run", cache_mode="on"))
    says = {
        "on": "answers are stored and reused",
        "read": "answers are reused, none is stored",
        "write": "answers are stored, none is reused",
        "refresh": "every row is sent, and its answer replaces the stored one",
    }[mode]
    age = "without expiry" if ttl is None else f"for {ttl}"
    cached = facts.job.counts.cache_savings.rows
    return Check("cache", question, "yes", f"{mode}: {says}, {age}; {cached:,} rows are cached")


def limits(facts: PlanFacts) -> Check:
    """Check that each endpoint that needs a limit has one."""
    question, models = "Does every endpoint have limits?", facts.job.models
    serving = {e: None for m in facts.job.counts.models for e in models.endpoints_of(m)}
    limited = {models.label(endpoint): _limits_of(facts, endpoint) for endpoint in serving}
    unlimited = [label for label, limit in limited.items() if limit is None]
    if unlimited:
        evidence = f"no limits for {', '.join(unlimited)}, neither set nor reported"
        asked = facts.estimate.scaled.forecast.asked.estimate or 1.0
        rpm = max(1, math.ceil(asked / facts.hours / 60))  # that the scaled job needs
        return Check("limits", question, "no", evidence, facts.command("run", rpm=rpm))
    evidence = "; ".join(f"{label}: {limit}" for label, limit in limited.items())
    return Check("limits", question, "yes", evidence or "no row needs a call")


def overload(facts: PlanFacts) -> Check:
    """Check that rows survive an overloaded endpoint."""
    question, config, models = "Is overload handled?", facts.job.config, facts.job.models
    fallbacks, asked_for = models.fallbacks(), facts.job.counts.models
    if config.retry.max_attempts == 1 and not fallbacks:
        command = facts.command("run", max_attempts=5)
        return Check("overload", question, "no", "no retries and no fallback", command)
    several = sum(len(models.endpoints_of(model)) > 1 for model in asked_for)
    adaptive = "adaptive" if config.balance.adaptive else "fixed"
    evidence = (
        f"up to {config.retry.max_attempts} attempts within {config.retry.retry_time:g} s; "
        f"{several} of {len(asked_for)} models with several endpoints, "
        f"{len(fallbacks)} with a fallback; {adaptive} concurrency"
    )
    return Check("overload", question, "yes", evidence)


def _hours(facts: PlanFacts) -> tuple[Interval, str]:
    """Return the hours of the scaled job, and where they are from if not from the estimate."""
    interval, pace = facts.estimate.scaled.hours, facts.calls_per_s
    if interval.high is not None or interval.low is None or pace is None:
        return interval, ""
    asked = facts.estimate.scaled.forecast.asked.estimate or 0.0
    measured = max(interval.low, asked / pace / 3600)
    return Interval(measured, measured, measured), " at the pace of the earlier run"


def _limited_by(facts: PlanFacts) -> str:
    bounds = facts.estimate.scaled.bounds
    return f"limited by {bounds[0].binding}" if bounds else "no known limit"


def _limits_of(facts: PlanFacts, endpoint: EndpointConfig) -> str | None:
    """Return what keeps an endpoint from overload; None where nothing does."""
    configured = [
        f"{name} {value if isinstance(value, str) else format(value, ',.10g')}"
        for name in ("rpm", "tpm", "rpd", "tpd")
        if (value := getattr(endpoint, name)) is not None
    ]
    if configured:
        return ", ".join(configured)
    if not spec_of(endpoint.model).is_remote:
        return "in this process"
    provider_rpm = _provider_rpm(facts, facts.job.models.label(endpoint))
    if provider_rpm is not None:
        return f"rpm {provider_rpm:g}, reported by the provider"
    if endpoint.base_url is not None and facts.job.config.balance.adaptive:
        return "adaptive concurrency"
    return None


def _provider_rpm(facts: PlanFacts, label: str) -> float | None:
    """Return the requests per minute that the provider reported to the sample or an earlier run."""
    sample = facts.estimate.sample
    pace = sample.paces.get(label) if sample is not None else None
    if pace is not None and pace.rpm is not None:
        return pace.rpm
    return None if facts.baseline is None else facts.baseline.provider_rpm(label)


def _raise_binding_limit(facts: PlanFacts) -> str | None:
    """Return the command that raises the binding limit far enough, where a flag does."""
    models, bounds = facts.job.config.models, facts.estimate.scaled.bounds
    if not bounds or bounds[0].binding.scope == "user":
        return None
    bound = bounds[0]
    times = bound.minutes / 60 / facts.hours
    match bound.binding.budget:
        case "concurrency" if models.concurrency is not None:
            return facts.command("run", concurrency=math.ceil(models.concurrency * times))
        case "rpm" if models.rpm is not None:
            return facts.command("run", rpm=math.ceil(per_minute(models.rpm) * times))
        case "tpm" if models.tpm is not None:
            return facts.command("run", tpm=math.ceil(per_minute(models.tpm) * times))
    return None
