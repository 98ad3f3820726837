"""The lines of the plan for the way up: machines, endpoints, storage, alerts, stages, the way back.

None of them is required: each is advice.
"""

import math
import shutil
from contextlib import closing

from llmscale.commands.plan.checks import Answer, Facts, Line
from llmscale.config import Config
from llmscale.core.units import short_size, size_bytes
from llmscale.report.words import dollars
from llmscale.runtime.cache import folder_of, open_store

STAGES = (0.1, 0.25, 0.5, 1.0)
"""Shares of the rows, one after the other."""

_OF_THE_MACHINE = frozenset({"cpu", "disk"})
"""What binds a run and a second process would have more of."""


def lines(facts: Facts) -> list[Line]:
    """Return them in the order of the checklist."""
    checks = (machines, balancing, storage, cap, alerts, rollout, rollback, verified)
    return [check(facts) for check in checks]


def machines(facts: Facts) -> Line:
    """Is one process enough for the scaled job?"""
    question = f"Is one machine enough for {facts.scale}?"
    scaled, pace = facts.estimate.scaled, facts.calls_per_s
    asked = scaled.figures.asked.estimate
    if pace is None or asked is None:
        evidence = "no earlier run tells how many calls a second a process makes"
        return Line("machines", question, "unknown", evidence)
    needed = asked / facts.hours / 3600
    evidence = f"{needed:,.2f} calls/s are needed, and the earlier run made {pace:,.2f}"
    if needed <= pace:
        return Line("machines", question, "yes", evidence)
    bottleneck = None if facts.baseline is None else facts.baseline.bottleneck
    if bottleneck is None:
        return Line("machines", question, "unknown", f"{evidence}; what bound it is not known")
    if bottleneck.main in _OF_THE_MACHINE:
        return Line("machines", question, "no", f"{evidence}, bound by this machine")
    evidence += f"; a second would be bound as it was, by {bottleneck.main}"
    return Line("machines", question, "yes", evidence)


def balancing(facts: Facts) -> Line:
    """Does every model have more than one endpoint?"""
    question, models = "Do several endpoints share the load?", facts.seen.models
    alone = [m for m in facts.seen.census.models if len(models.endpoints_of(m)) < 2]
    if alone:
        evidence = f"{', '.join(alone)} has one; further ones are [[endpoint]] tables"
        return Line("balancing", question, "no", evidence)
    strategy = facts.seen.config.balance.strategy
    return Line("balancing", question, "yes", f"every model has several, by {strategy}")


def storage(facts: Facts) -> Line:
    """Does the cache have room for the answers of the scaled job?"""
    question, config = f"Has the cache room for {facts.scale}?", facts.seen.config
    if config.cache.mode in ("off", "read"):
        return Line("storage", question, "yes", f"--cache {config.cache.mode} keeps no answer")
    entry_bytes = _bytes_of_entry(facts)
    asked = facts.estimate.scaled.figures.asked.estimate
    if entry_bytes is None or asked is None:
        return Line("storage", question, "unknown", "no stored answer tells how large one is")
    needed, most = entry_bytes * asked, size_bytes(config.cache.max_size)
    free = shutil.disk_usage(folder_of(config.cache)).free
    evidence = (
        f"about {short_size(needed)} are needed; the cache may have {short_size(most)}, and "
        f"{short_size(free)} of its disk are free"
    )
    if needed <= min(most, free):
        return Line("storage", question, "yes", evidence)
    size = f"{math.ceil(needed / 1e9)}GB"
    command = facts.command("run", cache_max_size=size) if needed <= free else None
    return Line("storage", question, "no", evidence, command)


def cap(facts: Facts) -> Line:
    """Is there a cap on what it may cost, and is it enough?"""
    question, config = "Is there a cap on what this job may cost?", facts.seen.config
    usd = facts.estimate.now.figures.usd
    if usd.high == 0:
        return Line("cap", question, "yes", "it costs nothing")
    most = None if usd.high is None else math.ceil(usd.high * 100) / 100
    command = None if most is None else facts.command("run", max_cost=most)
    if config.cost.max_cost is None:
        return Line("cap", question, "no", "--max-cost is not set", command)
    evidence = f"--max-cost {dollars(config.cost.max_cost)}"
    if usd.low is not None and usd.low > config.cost.max_cost:
        evidence += f", and this run takes {dollars(usd.low)} at the least"
        return Line("cap", question, "no", evidence, command)
    if usd.high is None or usd.high > config.cost.max_cost:
        evidence += ", which may not be enough"
    return Line("cap", question, "yes", evidence)


def alerts(facts: Facts) -> Line:
    """What will be warned of while it runs, and who will be told?"""
    question, config = "Are alerts on?", facts.seen.config
    if not config.observe.alert_on and not config.observe.fail_on:
        command = facts.command("run", alert_on=Config().observe.alert_on)
        return Line("alerts", question, "no", "no rule is set", command)
    told = [f"exit code 1 where {config.observe.fail_on}"] if config.observe.fail_on else []
    told += [f"a warning where {config.observe.alert_on}"] if config.observe.alert_on else []
    if facts.seen.kept is not None:
        told.append("one where the run drifts from its estimate")
    targets = ", ".join(config.observe.alert)
    who = f"goes to {targets} too" if targets else "is in the log alone"
    return Line("alerts", question, "yes", f"{', '.join(told)}; what trips {who}")


def rollout(facts: Facts) -> Line:
    """How much of the job is done, and what is the next stage?"""
    question = f"Does it go in stages ({', '.join(f'{stage:.0%}' for stage in STAGES)})?"
    columns = facts.seen.columns
    rows, done = len(columns.is_row), int(columns.answered.sum())
    share = done / rows if rows else 1.0
    evidence = f"{done:,} of {rows:,} rows are answered"
    following = next((stage for stage in STAGES if stage > share), None)
    if following is None:
        return Line("rollout", question, "yes", evidence)
    limit = None if following == 1 else math.ceil(following * rows)
    answer: Answer = "yes" if share >= STAGES[0] else "no"
    evidence += f"; the next stage is {following:.0%}"
    return Line("rollout", question, answer, evidence, facts.command("run", limit=limit))


def rollback(facts: Facts) -> Line:
    """Can what it does be taken back?"""
    question, seen = "Can it be taken back?", facts.seen
    if not seen.keeps:
        evidence = "what goes to standard output is gone; write to a file"
        return Line("rollback", question, "no", evidence)
    evidence = f"{seen.files.output} is replaced as a whole at the end, by --overwrite too"
    if seen.config.cache.mode not in ("on", "write", "refresh"):
        return Line("rollback", question, "yes", evidence)
    evidence += "; what the cache has now can be exported, and later `cache clear` and imported"
    return Line(
        "rollback",
        question,
        "yes",
        evidence,
        facts.command("cache export", inputs=["before.cache.jsonl"]),
    )


def verified(facts: Facts) -> Line:
    """Did an earlier run come as it was estimated?"""
    question = "Did an earlier run come as estimated?"
    held = None if facts.baseline is None else facts.baseline.estimate
    if held is None:
        return Line("verified", question, "unknown", "no report holds a run against an estimate")
    usd, low, high = held.projected_usd, held.usd_low, held.usd_high
    evidence = "its cost is not known" if usd is None else f"it came to {dollars(usd)}"
    if low is not None and high is not None:
        evidence += f", and {dollars(low)} to {dollars(high)} was estimated"
    if not held.drift:
        return Line("verified", question, "yes", evidence)
    evidence += f"; {' and '.join(held.drift)} left the bounds"
    return Line("verified", question, "no", evidence, facts.command("estimate", sample=50))


def _bytes_of_entry(facts: Facts) -> float | None:
    """Return the mean size of what is stored, None where there is nothing or no cache."""
    config = facts.seen.config
    if not folder_of(config.cache).is_dir():
        return None
    try:
        with closing(open_store(config.cache)) as store:
            contents = store.contents()
    except Exception:  # whatever a damaged file brings
        return None
    return contents.size_bytes / contents.entries if contents.entries else None
