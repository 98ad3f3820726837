"""What a check is, and the facts that all checks use."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from llmscale.accounting.run_numbers import Report
from llmscale.commands.estimate.job_state import JobState
from llmscale.commands.estimate.projection import Estimate

Answer = Literal["yes", "no", "unknown"]


class Check(msgspec.Struct, frozen=True):
    """A question of the checklist with its answer."""

    name: str
    question: str
    answer: Answer
    evidence: str
    command: str | None = None  # the fix, or the next step
    required: bool = False


class PlanFacts(NamedTuple):
    """What is known about a job. Nothing was sent for it."""

    job: JobState
    estimate: Estimate
    baseline: Report | None  # None: no earlier run of this job
    hours: float  # that the scaled job may take
    command: Callable[..., str]  # makes a command line from its name and flags

    @property
    def scale(self) -> str:
        """The scale, for a sentence: "10x"."""
        return f"{self.estimate.scaled.scale:g}x"

    @property
    def calls_per_s(self) -> float | None:
        """Calls per second of the earlier run; None if it made no call or there was none."""
        return None if self.baseline is None else self.baseline.calls_per_s

    @property
    def sample_command(self) -> str:
        """The command that replaces bounds by estimates."""
        return self.command("estimate", sample=50)
