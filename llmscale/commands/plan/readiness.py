"""The lines of the plan that come before scaling. Each is required: a no ends with exit code 1."""

import math

from llmscale.accounting.forecast.interval import Interval
from llmscale.commands.estimate.projection import figure
from llmscale.commands.estimate.result import unpriced
from llmscale.commands.plan.checks import Answer, Facts, Line
from llmscale.config import EndpointConfig
from llmscale.core.units import per_minute
from llmscale.providers import ON_THE_NETWORK, split_model
from llmscale.report.words import between, dollars, hours, in_words

STAGE = 0.1  # of the rows, that are a baseline


def lines(facts: Facts) -> list[Line]:
    """Return them in the order of the checklist."""
    checks = (load, bottleneck, baseline, cost, cache, limits, overload)
    return [check(facts) for check in checks]


def load(facts: Facts) -> Line:
    """Does the scaled job fit in its limits and in the night?"""
    scaled = facts.estimate.scaled
    span, by = scaled.hours, ""
    if span.high is None and span.low is not None and facts.calls_per_s is not None:
        asked = scaled.figures.asked.estimate or 0.0
        measured = max(span.low, asked / facts.calls_per_s / 3600)
        span, by = Interval(measured, measured, measured), " at the pace of the earlier run"
    answer: Answer = "unknown"
    if span.high is not None and span.high <= facts.hours:
        answer = "yes"
    elif span.low is not None and span.low > facts.hours:
        answer = "no"
    shown = between(figure(span, 9), hours)
    command = None if answer == "yes" else facts.command("estimate", sample=50)
    evidence = f"{facts.scale} takes {shown}{by}"
    if answer == "no":
        command = _more_of(facts)
        evidence += f"; {in_words(scaled.shown()['binds'])}"
    question = f"Does {facts.scale} fit in the limits and in {facts.hours:g} h?"
    return Line("load", question, answer, evidence, command)


def bottleneck(facts: Facts) -> Line:
    """Is it known what binds?"""
    scaled = facts.estimate.scaled
    question = "Is it known what binds?"
    if facts.baseline is not None and facts.baseline.bottleneck is not None:
        evidence = f"the earlier run: {facts.baseline.bottleneck.says}"
        return Line("bottleneck", question, "yes", evidence)
    if scaled.bounds:
        evidence = in_words(scaled.shown()["binds"])
        return Line("bottleneck", question, "yes", evidence)
    evidence = "no limit is set, and how long calls take is not known"
    return Line("bottleneck", question, "unknown", evidence, facts.command("estimate", sample=50))


def baseline(facts: Facts) -> Line:
    """Is there a report of an earlier run of this job?"""
    question, earlier, pace = "Is there a baseline?", facts.baseline, facts.calls_per_s
    if earlier is None:
        rows = max(1, round(STAGE * len(facts.seen.columns.is_row)))
        command = facts.command("run", limit=rows)
        return Line("baseline", question, "no", "there is no report of this job", command)
    if pace is None:
        evidence = "the earlier run made no call: all answers were there before"
        return Line("baseline", question, "unknown", evidence)
    p95_s, usd = earlier.calls.latency_s.get("p95"), earlier.calls.cost_usd
    evidence = (
        f"{earlier.rows.answered + earlier.rows.failed:,} rows on {earlier.started}: "
        f"{pace:,.1f} calls/s, {earlier.rows.failed:,} failed, "
        f"p95 {'unknown' if p95_s is None else f'{p95_s:.2f} s'}, "
        f"{'cost unknown' if usd is None else dollars(usd)}"
    )
    return Line("baseline", question, "yes", evidence)


def cost(facts: Facts) -> Line:
    """Is it known what the scaled job costs?"""
    usd = facts.estimate.scaled.figures.usd
    question = f"Is it known what {facts.scale} costs?"
    models = unpriced(facts.seen, facts.estimate)
    if models:
        evidence = f"the price of {', '.join(models)} is not known; set it as a [[price]]"
        return Line("cost", question, "no", evidence)
    shown = between(figure(usd, 9), dollars)
    if usd.high is None:
        return Line("cost", question, "unknown", shown, facts.command("estimate", sample=50))
    by = "a sample" if facts.estimate.sample is not None else "token counts alone"
    return Line("cost", question, "yes", f"{shown}, by {by}")


def cache(facts: Facts) -> Line:
    """Is it decided what is done with answers?"""
    mode, ttl = facts.seen.config.cache.mode, facts.seen.config.cache.ttl
    question = "Is the cache used?"
    if mode == "off":
        evidence = "it is off: whatever is asked again is paid again"
        return Line("cache", question, "no", evidence, facts.command("run", cache_mode="on"))
    says = {
        "on": "answers are kept and used",
        "read": "answers are used, and none is kept",
        "write": "answers are kept, and none is used",
        "refresh": "every row is asked anew, and its answer is kept",
    }[mode]
    age = "for ever" if ttl is None else f"for {ttl}"
    stored = facts.seen.census.saved.rows
    return Line("cache", question, "yes", f"{mode}: {says}, {age}; {stored:,} rows are in it")


def limits(facts: Facts) -> Line:
    """Is there a limit for each endpoint that has to have one?"""
    question = "Are there limits for the endpoints?"
    serving = {e: None for m in facts.seen.census.models for e in facts.seen.models.endpoints_of(m)}
    held = {endpoint: _held_by(facts, endpoint) for endpoint in serving}
    open_ones = [facts.seen.models.label(e) for e, by in held.items() if by is None]
    if open_ones:
        evidence = f"{', '.join(open_ones)} has none, set or told"
        asked = facts.estimate.scaled.figures.asked.estimate or 1.0
        least = max(1, math.ceil(asked / facts.hours / 60))  # that the scaled job needs
        return Line("limits", question, "no", evidence, facts.command("run", rpm=least))
    told = "; ".join(f"{facts.seen.models.label(e)}: {by}" for e, by in held.items())
    return Line("limits", question, "yes", told or "no row has to be asked")


def overload(facts: Facts) -> Line:
    """What happens when an endpoint has too much to do?"""
    config = facts.seen.config
    question = "Is overload provided for?"
    fallbacks = facts.seen.models.fallbacks()
    if config.retry.max_attempts == 1 and not fallbacks:
        evidence = "a row is tried once, and no other model stands in"
        return Line("overload", question, "no", evidence, facts.command("run", max_attempts=5))
    several = sum(
        len(facts.seen.models.endpoints_of(model)) > 1 for model in facts.seen.census.models
    )
    evidence = (
        f"{config.retry.max_attempts} attempts within {config.retry.retry_time:g} s, "
        f"{several} of {len(facts.seen.census.models)} models with several endpoints, "
        f"{len(fallbacks)} with a stand-in; "
        + ("calls in flight adapt" if config.balance.adaptive else "calls in flight do not adapt")
    )
    return Line("overload", question, "yes", evidence)


def _held_by(facts: Facts, endpoint: EndpointConfig) -> str | None:
    """Return what keeps an endpoint from getting too much, None where nothing does."""
    limits_set = [
        f"{name} {value}"
        for name in ("rpm", "tpm", "rpd", "tpd")
        if (value := getattr(endpoint, name)) is not None
    ]
    if limits_set:
        return ", ".join(limits_set)
    if split_model(endpoint.model)[0] not in ON_THE_NETWORK:
        return "in this process"
    label = facts.seen.models.label(endpoint)
    pace = facts.estimate.sample.paces.get(label) if facts.estimate.sample is not None else None
    provider_rpm = pace.rpm if pace is not None else None
    if provider_rpm is None and facts.baseline is not None:
        provider_rpm = facts.baseline.provider_rpm(label)
    if provider_rpm is not None:
        return f"rpm {provider_rpm:g}, as it told"
    if endpoint.base_url is not None and facts.seen.config.balance.adaptive:
        return "as many in flight as it bears"
    return None


def _more_of(facts: Facts) -> str | None:
    """Return the command that has more of what binds, where a flag gives it."""
    config, bounds = facts.seen.config, facts.estimate.scaled.bounds
    if not bounds or bounds[0].scope == "user":
        return None
    times = bounds[0].minutes / 60 / facts.hours
    if bounds[0].budget == "concurrency" and config.models.concurrency is not None:
        return facts.command("run", concurrency=math.ceil(config.models.concurrency * times))
    if bounds[0].budget == "rpm" and config.models.rpm is not None:
        return facts.command("run", rpm=math.ceil(per_minute(config.models.rpm) * times))
    if bounds[0].budget == "tpm" and config.models.tpm is not None:
        return facts.command("run", tpm=math.ceil(per_minute(config.models.tpm) * times))
    return None
