"""`llmscale plan`: the checklist of a job that is to grow, answered from facts.

Looks at the settings, the rows, the cache, what was estimated and what an earlier run has reported.
Sends nothing, writes nothing, and asks nobody to tick a box.
"""

from collections.abc import Callable
from typing import Any

from llmscale.commands.estimate.estimate import SCALE, check_scale, estimated
from llmscale.commands.estimate.job_state import surveyed
from llmscale.commands.plan import readiness as before
from llmscale.commands.plan import scaling
from llmscale.commands.plan.baseline import baseline_of
from llmscale.commands.plan.checks import Facts, Line
from llmscale.config import Config
from llmscale.core.errors import ConfigError

HOURS = 8.0  # a night
MAX_HOURS = 1e6


def plan(
    config: Config,
    command: Callable[..., str],
    scale: float = SCALE,
    hours: float = HOURS,
) -> dict[str, Any]:
    """Return the lines, as JSON. `command` makes a command line of its name and of flags."""
    check_scale(scale)
    if not 0 < hours <= MAX_HOURS:
        raise ConfigError(f"--hours must be above 0 and up to {MAX_HOURS:,.0f}, not {hours:g}")
    with surveyed(config) as seen:
        sample = seen.kept.sample if seen.kept is not None else None
        facts = Facts(seen, estimated(seen, sample, scale), baseline_of(seen), hours, command)
        required, further = before.lines(facts), scaling.lines(facts)
    failed = [line.name for line in required if line.answer == "no"]
    return {
        "inputs": [source.name for source in seen.sources],
        "output": str(seen.files.output) if seen.keeps else "-",
        "scale": scale,
        "hours": hours,
        "ready": not failed,
        "lines": [
            *(_shown(line, required=True) for line in required),
            *(_shown(line, required=False) for line in further),
        ],
    }


def _shown(line: Line, *, required: bool) -> dict[str, Any]:
    return {**line._asdict(), "required": required}
