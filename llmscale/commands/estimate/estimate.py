"""`llmscale estimate`: dollars and hours before the run, and what will bind.

By token counts alone nothing is sent. With a sample, some rows are asked as the run would ask them,
and their answers are kept in the cache for it. What is told is what the run will still take:
without the rows that have an answer in OUT or in the cache, and without what the sample has cost.
"""

import logging
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec.structs import replace

from llmscale.accounting.forecast.saved_estimate import Observation, Sample, SavedEstimate, encode
from llmscale.accounting.forecast.strata import Strata, allotted, drawn
from llmscale.accounting.stats import Calls
from llmscale.commands.estimate.figures import Forecasts, rates_of
from llmscale.commands.estimate.from_counts import FromCounts
from llmscale.commands.estimate.from_sample import FromSample
from llmscale.commands.estimate.job_state import JobState, surveyed
from llmscale.commands.estimate.projection import Estimate, outlook
from llmscale.commands.estimate.result import told
from llmscale.config import Config
from llmscale.core.atomic_file import replace_file
from llmscale.core.errors import ConfigError
from llmscale.runtime.costs import prices_at
from llmscale.runtime.estimate_drift import compared, digests

SCALE = 10.0
MAX_SCALE = 1e6

log = logging.getLogger(__name__)


def estimate(config: Config, sample: int | None = None, scale: float = SCALE) -> dict[str, Any]:
    """Return the estimate, as JSON, and keep it beside the output.

    `sample` rows are asked; 0: none, counts alone; None: none either, but what an earlier sample of
    this job has told is used. Raises `JobError`.
    """
    check_scale(scale)
    if sample and config.cache.mode != "on":
        log.warning(
            "with --cache %s the run pays again for the rows of the sample", config.cache.mode
        )
    with surveyed(config) as seen:
        earlier = seen.kept.sample if seen.kept is not None else None
        known, calls = (None if sample == 0 else earlier), Calls()
        if sample:
            known, calls = _asked(seen, sample, earlier)
        found = estimated(seen, known, scale)
        if sample and found.sample is None and found.now.rows:
            log.warning("%s", _silence(known))
        if seen.keeps and (found.sample is not None or earlier is None):
            replace_file(seen.files.estimate, encode(_to_keep(seen, found)))
        return told(seen, found, calls)


def check_scale(scale: float) -> None:
    """Raises `ConfigError` for a scale that is none."""
    if not 1 <= scale <= MAX_SCALE:  # so that what is no number is none either
        raise ConfigError(f"--scale must be from 1 to {MAX_SCALE:,.0f}, not {scale:g}")


def estimated(seen: JobState, sample: Sample | None, scale: float) -> Estimate:
    """Return what a job will take, by a sample where there is one of use."""
    rates = {model: rates_of(seen.config.cost, seen.models, model) for model in seen.census.models}
    deviation_usd = 0.0
    forecasts: Forecasts = FromCounts(seen.census, seen.columns, rates)
    if sample is not None:
        by_sample = FromSample(
            seen.census, seen.columns, sample, rates, lambda o, model: _usd(seen, o, model)
        )
        if by_sample.says_something:
            forecasts, deviation_usd = by_sample, by_sample.usd_deviation
        else:
            sample = None
    now, scaled = (outlook(seen, forecasts, sample, times) for times in (None, scale))
    return Estimate(now, scaled, sample, deviation_usd)


def _asked(seen: JobState, wanted: int, known: Sample | None) -> tuple[Sample | None, Calls]:
    """Ask the rows of a sample; what an earlier one told of the pace stays where none was sent."""
    indexes = _drawn(seen, wanted)
    if not indexes:
        return known, Calls()
    from llmscale.commands.estimate.sample_run import ask  # with it comes the network stack

    sample, stats = ask(seen.config, seen.models, seen.sources, indexes, str(seen.files.output))
    if sample.rows_per_s is None and known is not None:
        sample = replace(known, observations=sample.observations)
    return sample, stats.calls()


def _drawn(seen: JobState, wanted: int) -> list[int]:
    """Draw rows, by model and size: of all that have no answer in OUT, each question once.

    Those that are in the cache too: so the same rows are drawn again when their answers are there.
    """
    columns = seen.columns
    indexes = np.flatnonzero(columns.first & ~columns.answered)
    models, sizes = columns.models[indexes], columns.sizes[indexes]
    of_models = np.bincount(models, minlength=len(seen.census.models))
    strata = Strata(models, sizes, allotted(of_models, wanted))
    numbers = strata.of(models, sizes)
    counts = allotted(np.bincount(numbers, minlength=strata.count), wanted)
    return [int(i) for i in drawn(numbers, indexes, counts, len(columns.is_row))]


def _silence(sample: Sample | None) -> str:
    """Say that a sample has told nothing, and why."""
    counted = Counter(o.failure for o in sample.observations) if sample else Counter()
    kinds = ", ".join(f"{count} {kind}" for kind, count in counted.most_common())
    why = f" ({kinds})" if kinds else ""
    return f"no row of the sample was answered{why}; this is by token counts alone"


def _usd(seen: JobState, observation: Observation, model: str) -> float | None:
    """Return what the tokens of an observation cost where they were answered.

    By the prices of today, so that one that is set after the sample counts.
    """
    if observation.usage is None:
        return None
    if observation.model and seen.models.endpoints_of(observation.model):
        model = observation.model  # it may have stood in for another
    serving = seen.models.endpoints_of(model)
    named = {seen.models.label(endpoint): endpoint for endpoint in serving}
    prices = prices_at(seen.config.cost, named.get(observation.endpoint, serving[0]))
    return prices.cost_usd(model, observation.usage)


def _to_keep(seen: JobState, found: Estimate) -> SavedEstimate:
    inputs, settings, limit = seen.identity
    now = found.now
    return SavedEstimate(
        inputs=digests(inputs),
        settings=compared(settings),
        limit=limit,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        asked=now.figures.asked.estimate or 0.0,
        usd=now.figures.usd,
        usd_deviation=found.usd_deviation,
        hours=now.hours,
        sample=found.sample,
    )
