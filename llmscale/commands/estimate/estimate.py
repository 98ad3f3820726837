"""`llmscale estimate`: the cost and the time of a run before it starts, and what will limit it.

Without a sample nothing is sent. With one, some rows are sent as the run would send them, and their
answers stay in the cache for it. The estimate is of what the run still has to do: without rows that
have an answer in OUT or in the cache, and without the cost of the sample.
"""

import logging
from collections import Counter
from datetime import UTC, datetime
from functools import partial

from msgspec.structs import replace

from llmscale.accounting.forecast.saved_estimate import Observation, Sample, SavedEstimate, encode
from llmscale.accounting.stats import Calls
from llmscale.commands.estimate.forecast import Forecaster
from llmscale.commands.estimate.forecast_from_counts import ForecasterFromCounts
from llmscale.commands.estimate.forecast_from_sample import ForecasterFromSample
from llmscale.commands.estimate.job_state import JobState, job_state
from llmscale.commands.estimate.projection import Estimate, project
from llmscale.commands.estimate.result import EstimateResult, result_of
from llmscale.commands.estimate.sample_draw import draw_sample
from llmscale.commands.estimate.token_rates import token_rates
from llmscale.config import Config
from llmscale.core.atomic_file import replace_file
from llmscale.core.errors import ConfigError
from llmscale.runtime.costs import prices_at
from llmscale.runtime.estimate_drift import compared, digests

SCALE = 10.0
MAX_SCALE = 1e6

log = logging.getLogger(__name__)


def estimate(config: Config, sample: int | None = None, scale: float = SCALE) -> EstimateResult:
    """Return an estimate and save it beside OUT.

    `sample`: rows to send first; 0: use counts alone; None: send nothing, but use an earlier sample
    of this job. Raises `ConfigError`, and `JobError` as a run does.
    """
    check_scale(scale)
    if sample and config.cache.mode != "on":
        log.warning("with --cache %s the run pays for the sampled rows again", config.cache.mode)
    with job_state(config) as job:
        saved, calls = job.saved_estimate, Calls()
        earlier = saved.sample if saved is not None else None
        known = None if sample == 0 else earlier
        if sample:
            known, calls = _sampled(job, sample, earlier)
        found = estimate_job(job, known, scale)
        if sample and found.sample is None and found.now.rows:
            log.warning("%s", _no_answer(known))
        if job.to_file and (found.sample is not None or earlier is None):
            replace_file(job.paths.estimate, encode(_to_save(job, found)))
        return result_of(job, found, calls)


def check_scale(scale: float) -> None:
    """Raises `ConfigError` if the scale is out of range."""
    if not 1 <= scale <= MAX_SCALE:  # refuses NaN too
        raise ConfigError(f"--scale must be from 1 to {MAX_SCALE:,.0f}, not {scale:g}")


def estimate_job(job: JobState, sample: Sample | None, scale: float) -> Estimate:
    """Return an estimate from a sample; from counts alone where it has no answers or is None."""
    cost, models = job.config.cost, job.models
    rates = {model: token_rates(cost, models, model) for model in job.counts.models}
    forecaster: Forecaster = ForecasterFromCounts(job.counts, job.columns, rates)
    deviation_usd = 0.0
    if sample is not None:
        price = partial(_usd, job)
        sampled = ForecasterFromSample(job.columns, sample, rates, price)
        if sampled.has_answers:
            forecaster, deviation_usd = sampled, sampled.usd_deviation
        else:
            sample = None
    now, scaled = (project(job, forecaster, sample, times) for times in (None, scale))
    return Estimate(now, scaled, sample, deviation_usd)


def _sampled(job: JobState, size: int, earlier: Sample | None) -> tuple[Sample | None, Calls]:
    """Run a sample. If it sent nothing, keep the pace of an earlier one."""
    indexes = draw_sample(job, size)
    if not indexes:
        return earlier, Calls()
    from llmscale.commands.estimate.sample_run import run_sample  # imports the network stack

    sample, stats = run_sample(job, indexes)
    if sample.rows_per_s is None and earlier is not None:
        sample = replace(earlier, observations=sample.observations)
    return sample, stats.calls()


def _no_answer(sample: Sample | None) -> str:
    """Return a warning that no row of the sample was answered, and why."""
    counted = Counter(o.failure for o in sample.observations) if sample else Counter()
    kinds = ", ".join(f"{count} {kind}" for kind, count in counted.most_common())
    why = f" ({kinds})" if kinds else ""
    return f"no row of the sample was answered{why}; the estimate uses token counts alone"


def _usd(job: JobState, observation: Observation, model: str) -> float | None:
    """Return what the tokens of an observation cost at the endpoint that answered.

    Uses today's prices, so that one that is set after the sample counts.
    """
    if observation.usage is None:
        return None
    if observation.model and job.models.endpoints_of(observation.model):
        model = observation.model  # it may be the fallback of another
    serving = job.models.endpoints_of(model)
    by_name = {job.models.label(endpoint): endpoint for endpoint in serving}
    prices = prices_at(job.config.cost, by_name.get(observation.endpoint, serving[0]))
    return prices.cost_usd(model, observation.usage)


def _to_save(job: JobState, found: Estimate) -> SavedEstimate:
    inputs, settings, limit = job.identity
    now = found.now
    return SavedEstimate(
        inputs=digests(inputs),
        settings=compared(settings),
        limit=limit,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        asked=now.forecast.asked.estimate or 0.0,
        usd=now.forecast.usd,
        usd_deviation=found.usd_deviation,
        hours=now.hours,
        sample=found.sample,
    )
