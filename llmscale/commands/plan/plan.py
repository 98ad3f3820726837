"""`llmscale plan`: checks whether a job is ready to scale. A go/no-go checklist with fixes.

Looks at the settings, the rows, the cache, the estimate and the report of an earlier run. Sends
nothing and writes nothing.
"""

from collections.abc import Callable

import msgspec

from llmscale.commands.estimate.estimate import SCALE, check_scale, estimate_job
from llmscale.commands.estimate.job_state import job_state
from llmscale.commands.plan import advice, readiness
from llmscale.commands.plan.baseline import baseline_of
from llmscale.commands.plan.checks import Check, PlanFacts
from llmscale.config import Config
from llmscale.core.errors import ConfigError

HOURS = 8.0  # a night
MAX_HOURS = 1e6


class PlanResult(msgspec.Struct, frozen=True):
    """The checklist of a job."""

    inputs: list[str]
    output: str
    scale: float
    hours: float
    ready: bool  # no required check failed
    lines: list[Check]  # required ones first

    @property
    def failed(self) -> list[str]:
        """Names of the required checks whose answer is no."""
        return [check.name for check in self.lines if check.required and check.answer == "no"]


def plan(
    config: Config, command: Callable[..., str], scale: float = SCALE, hours: float = HOURS
) -> PlanResult:
    """Return the checklist. `command` makes a command line from its name and flags.

    Raises `ConfigError`, also for a scale or hours out of range.
    """
    check_scale(scale)
    if not 0 < hours <= MAX_HOURS:  # refuses NaN too
        raise ConfigError(f"--hours must be above 0 and up to {MAX_HOURS:,.0f}, not {hours:g}")
    with job_state(config) as job:
        sample = job.saved_estimate.sample if job.saved_estimate is not None else None
        estimate = estimate_job(job, sample, scale)
        facts = PlanFacts(job, estimate, baseline_of(job), hours, command)
        checks = [*readiness.required_checks(facts), *advice.advisory_checks(facts)]
    return PlanResult(
        inputs=[source.name for source in job.sources],
        output=job.output,
        scale=scale,
        hours=hours,
        ready=not any(check.required and check.answer == "no" for check in checks),
        lines=checks,
    )
