"""The advice of a plan: machines, endpoints, storage, alerts, stages, rollback. Never required."""

import math
import shutil

from llmscale.commands.plan.checks import Answer, Check, PlanFacts
from llmscale.config import CacheConfig, Config
from llmscale.core.units import short_size, size_bytes
from llmscale.report.figures import dollars
from llmscale.runtime.cache import folder_of, has_folder, with_admin

STAGES = (0.1, 0.25, 0.5, 1.0)
"""Shares of the rows, one after the other."""

_MACHINE_BOTTLENECKS = frozenset({"cpu", "disk"})
"""Bottlenecks that a second machine would relieve."""


def advisory_checks(facts: PlanFacts) -> list[Check]:
    """Return the checks in the order of the checklist."""
    checks = (machines, balancing, storage, cap, alerts, rollout, rollback, verified)
    return [check(facts) for check in checks]


def machines(facts: PlanFacts) -> Check:
    """Check that one machine is enough for the scaled job."""
    question = f"Is one machine enough for {facts.scale}?"
    pace, asked = facts.calls_per_s, facts.estimate.scaled.forecast.asked.estimate
    if pace is None or asked is None:
        evidence = "calls/s per process are unknown without an earlier run"
        return Check("machines", question, "unknown", evidence)
    needed = asked / facts.hours / 3600
    evidence = f"needs {needed:,.2f} calls/s, the earlier run made {pace:,.2f}"
    if needed <= pace:
        return Check("machines", question, "yes", evidence)
    bottleneck = None if facts.baseline is None else facts.baseline.bottleneck
    if bottleneck is None:
        return Check("machines", question, "unknown", f"{evidence}; its bottleneck is unknown")
    if bottleneck.main in _MACHINE_BOTTLENECKS:
        return Check("machines", question, "no", f"{evidence}, limited by this machine")
    evidence += f"; a second one would have the same bottleneck: {bottleneck.main}"
    return Check("machines", question, "yes", evidence)


def balancing(facts: PlanFacts) -> Check:
    """Check that every model has more than one endpoint."""
    question, models = "Do several endpoints share the load?", facts.job.models
    single = [m for m in facts.job.counts.models if len(models.endpoints_of(m)) < 2]
    if single:
        evidence = f"one endpoint for {', '.join(single)}; add more as [[endpoint]] tables"
        return Check("balancing", question, "no", evidence)
    strategy = facts.job.config.balance.strategy
    return Check("balancing", question, "yes", f"every model has several, balanced by {strategy}")


def storage(facts: PlanFacts) -> Check:
    """Check that the answers of the scaled job fit in the cache."""
    question, cache = f"Does the cache have space for {facts.scale}?", facts.job.config.cache
    if cache.mode in ("off", "read"):
        return Check("storage", question, "yes", f"--cache {cache.mode} stores no answers")
    entry_bytes, asked = _bytes_per_entry(cache), facts.estimate.scaled.forecast.asked.estimate
    if entry_bytes is None or asked is None:
        evidence = "the size of an answer is unknown: none is cached yet"
        return Check("storage", question, "unknown", evidence)
    needed, max_size = entry_bytes * asked, size_bytes(cache.max_size)
    free = shutil.disk_usage(folder_of(cache)).free
    evidence = (
        f"needs about {short_size(needed)}; --cache-max-size is {short_size(max_size)}, "
        f"{short_size(free)} of disk space are free"
    )
    if needed <= min(max_size, free):
        return Check("storage", question, "yes", evidence)
    size = f"{math.ceil(needed / 1e9)}GB"
    command = facts.command("run", cache_max_size=size) if needed <= free else None
    return Check("storage", question, "no", evidence, command)


def cap(facts: PlanFacts) -> Check:
    """Check that the cost is capped, and that the cap is enough."""
    question, max_cost = "Is the cost capped?", facts.job.config.cost.max_cost
    usd = facts.estimate.now.forecast.usd
    if usd.high == 0:
        return Check("cap", question, "yes", "the job is free")
    enough = None if usd.high is None else math.ceil(usd.high * 100) / 100
    command = None if enough is None else facts.command("run", max_cost=enough)
    if max_cost is None:
        return Check("cap", question, "no", "--max-cost is not set", command)
    evidence = f"--max-cost {dollars(max_cost)}"
    if usd.low is not None and usd.low > max_cost:
        evidence += f", but this run costs at least {dollars(usd.low)}"
        return Check("cap", question, "no", evidence, command)
    if usd.high is None or usd.high > max_cost:
        evidence += ", which may not be enough"
    return Check("cap", question, "yes", evidence)


def alerts(facts: PlanFacts) -> Check:
    """Check that the run warns of trouble, and whom."""
    question, observe = "Are alerts on?", facts.job.config.observe
    if not observe.alert_on and not observe.fail_on:
        command = facts.command("run", alert_on=Config().observe.alert_on)
        return Check("alerts", question, "no", "no alert rules are set", command)
    rules = [f"exit code 1 if {observe.fail_on}"] if observe.fail_on else []
    rules += [f"warning if {observe.alert_on}"] if observe.alert_on else []
    if facts.job.saved_estimate is not None:
        rules.append("warning if the run drifts from its estimate")
    targets = ", ".join(["log", *observe.alert])
    return Check("alerts", question, "yes", f"{'; '.join(rules)}; alerts go to: {targets}")


def rollout(facts: PlanFacts) -> Check:
    """Check that the job runs in stages, and name the next one."""
    question = f"Does the job run in stages ({', '.join(f'{stage:.0%}' for stage in STAGES)})?"
    columns = facts.job.columns
    rows, done = len(columns.is_row), int(columns.answered.sum())
    share = done / rows if rows else 1.0
    evidence = f"{done:,} of {rows:,} rows are answered"
    following = next((stage for stage in STAGES if stage > share), None)
    if following is None:
        return Check("rollout", question, "yes", evidence)
    limit = None if following == 1 else math.ceil(following * rows)
    answer: Answer = "yes" if share >= STAGES[0] else "no"
    evidence += f"; next stage: {following:.0%}"
    return Check("rollout", question, answer, evidence, facts.command("run", limit=limit))


def rollback(facts: PlanFacts) -> Check:
    """Check that the effects of the run can be undone."""
    question, job = "Can the run be rolled back?", facts.job
    if not job.to_file:
        evidence = "standard output can't be rolled back; write to a file"
        return Check("rollback", question, "no", evidence)
    evidence = f"{job.output} is only replaced as a whole, at the end, even with --overwrite"
    if job.config.cache.mode not in ("on", "write", "refresh"):
        return Check("rollback", question, "yes", evidence)
    evidence += "; export the cache now, and to roll back run `cache clear` and `cache import`"
    command = facts.command("cache export", inputs=["before.cache.jsonl"])
    return Check("rollback", question, "yes", evidence, command)


def verified(facts: PlanFacts) -> Check:
    """Check that an earlier run stayed within its estimate."""
    question = "Did an earlier run match its estimate?"
    compared = None if facts.baseline is None else facts.baseline.estimate
    if compared is None:
        evidence = "no earlier run had an estimate"
        return Check("verified", question, "unknown", evidence)
    usd, low, high = compared.projected_usd, compared.usd_low, compared.usd_high
    evidence = "cost unknown" if usd is None else f"cost {dollars(usd)}"
    if low is not None and high is not None:
        evidence += f", estimated {dollars(low)} to {dollars(high)}"
    if not compared.drift:
        return Check("verified", question, "yes", evidence)
    evidence += f"; outside of the estimate: {', '.join(compared.drift)}"
    return Check("verified", question, "no", evidence, facts.sample_command)


def _bytes_per_entry(cache: CacheConfig) -> float | None:
    """Return the mean size of a cached answer; None without a readable cache or entries."""
    if not has_folder(cache):
        return None
    try:
        contents = with_admin(cache, lambda stored: stored.contents())
    except Exception:  # a damaged file can raise anything
        return None
    return contents.size_bytes / contents.entries if contents.entries else None
