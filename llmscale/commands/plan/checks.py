"""What a line of the plan is, and the facts that all of them are told from."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from llmscale.commands.estimate.job_state import JobState
from llmscale.commands.estimate.projection import Estimate
from llmscale.commands.plan.baseline import Baseline

Answer = Literal["yes", "no", "unknown"]


class Line(NamedTuple):
    """A question of the checklist, answered."""

    name: str
    question: str
    answer: Answer
    evidence: str
    command: str | None = None  # that makes it a yes, or that comes next


class Facts(NamedTuple):
    """What is known of a job. Nothing was sent for it."""

    seen: JobState
    estimate: Estimate
    baseline: Baseline | None  # an earlier run of this job
    hours: float  # that the scaled job may take
    command: Callable[..., str]  # makes a command line of its name and of flags

    @property
    def scale(self) -> str:
        """How many times the rows, for a sentence."""
        return f"{self.estimate.scaled.scale:g}x"

    @property
    def calls_per_s(self) -> float | None:
        """The pace of the earlier run, None where it made no call, or was not."""
        return None if self.baseline is None else self.baseline.calls_per_s
