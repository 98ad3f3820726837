"""An estimate as JSON: what is asked and what is saved, the sample, the models, now and scaled."""

from typing import Any

from llmscale.accounting.forecast.prediction import share
from llmscale.accounting.forecast.saved_estimate import Sample
from llmscale.accounting.stats import Calls, Latency
from llmscale.commands.estimate.figures import rates_of
from llmscale.commands.estimate.job_state import JobState
from llmscale.commands.estimate.projection import Estimate, figure


def told(seen: JobState, found: Estimate, calls: Calls) -> dict[str, Any]:
    """Return an estimate. `calls`: those that were made for it."""
    columns = seen.columns
    return {
        "inputs": [source.name for source in seen.sources],
        "output": str(seen.files.output) if seen.keeps else "-",
        "method": "counts" if found.sample is None else "sample",
        "rows": {
            "total": len(columns.is_row),
            "bad": int((~columns.is_row).sum()),
            "answered": int(columns.answered.sum()),
            "cached": seen.census.saved.rows,
            "repeated": int(columns.repeated.sum()),
        },
        "now": found.now.shown(),
        "scaled": found.scaled.shown(),
        "saved": _saved(seen, found),
        "max_cost": _max_cost(seen, found),
        "models": _models(seen, found),
        "unpriced": unpriced(seen, found),
        "unanswered": [] if found.sample is None else unanswered(seen, found.sample),
        "unbounded": seen.census.unbounded,
        "sample": None if found.sample is None else _sample(found.sample, calls),
    }


def unpriced(seen: JobState, found: Estimate) -> list[str]:
    """Return the models whose dollars are not known because their price is not."""
    usd = found.scaled.figures.usd_of_models
    unknown = [model for model in seen.census.models if usd[model].low is None]
    return sorted(m for m in unknown if rates_of(seen.config.cost, seen.models, m) is None)


def unanswered(seen: JobState, sample: Sample) -> list[str]:
    """Return the models that rows ask for and that have answered no row of a sample."""
    models = seen.columns.models
    answering = {models[o.index] for o in sample.observations if o.failure is None}
    return sorted(m for n, m in enumerate(seen.census.models) if n not in answering)


def _models(seen: JobState, found: Estimate) -> dict[str, Any]:
    models = {}
    for number, model in enumerate(seen.census.models):
        own = seen.columns.models == number
        models[model] = {
            "rows": int((own & seen.columns.is_row).sum()),
            "asked": int((own & seen.columns.asked).sum()),
            "usd": figure(found.now.figures.usd_of_models[model], 9),
        }
    return models


def _saved(seen: JobState, found: Estimate) -> dict[str, Any]:
    """Return what is not paid for: stored answers, and about as much for rows that ask again."""
    stored, figures = seen.census.saved, found.now.figures
    repeated = int(seen.columns.repeated.sum())
    asked = figures.asked.estimate
    times = repeated / asked if asked and found.sample is not None else None
    counted = (figures.input_tokens.estimate or 0.0) + (figures.output_tokens.estimate or 0.0)
    usd = figures.usd.estimate
    return {
        "cache": {"rows": stored.rows, "tokens": stored.tokens, "usd": stored.known_usd},
        "repeats": {
            "rows": repeated,
            "tokens": None if times is None else round(counted * times),
            "usd": None if times is None or usd is None else round(usd * times, 9),
        },
    }


def _max_cost(seen: JobState, found: Estimate) -> dict[str, Any] | None:
    """Return whether the cap covers the job, null where that is not sure; null without a cap."""
    cap_usd = seen.config.cost.max_cost
    if cap_usd is None:
        return None
    left_usd = max(0.0, cap_usd - seen.spent_usd)
    usd = found.now.figures.usd
    covers = None
    if usd.high is not None and usd.high <= left_usd:
        covers = True
    elif usd.low is not None and usd.low > left_usd:
        covers = False
    return {"usd": cap_usd, "left_usd": round(left_usd, 9), "covers": covers}


def _sample(sample: Sample, calls: Calls) -> dict[str, Any]:
    observations = sample.observations
    failures = [o.failure for o in observations if o.failure is not None]
    latency = Latency()
    for observation in observations:
        if observation.latency_s is not None:
            latency.add(observation.latency_s)
    usd = calls.known_cost_usd
    return {
        "rows": len(observations),
        "kept": sum(o.kept for o in observations),
        "truncated": sum(o.truncated for o in observations),
        "failed": len(failures),
        "failed_share": figure(share(len(failures), len(observations)), 6),
        "failures": {kind: failures.count(kind) for kind in sorted(set(failures))},
        "latency_s": latency.summary(),
        "attempts": calls.attempts,
        "cost_usd": None if usd is None else round(usd, 9),
    }
