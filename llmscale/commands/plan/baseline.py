"""What the report of an earlier run of a job tells, as far as the plan needs it.

Read with types, so that a file that is no report of ours is none.
"""

from pathlib import Path

import msgspec

from llmscale.commands.estimate.job_state import JobState
from llmscale.report.builder import SCHEMA_VERSION


class _Rows(msgspec.Struct, frozen=True):
    answered: int
    failed: int


class _Calls(msgspec.Struct, frozen=True):
    attempts: int
    cost_usd: float | None
    latency_s: dict[str, float | None]


class _Limits(msgspec.Struct, frozen=True):
    provider_rpm: float | None = None


class _Endpoint(msgspec.Struct, frozen=True):
    limits: _Limits | None = None


class Bottleneck(msgspec.Struct, frozen=True):
    """What held the run back most."""

    main: str
    says: str


class Held(msgspec.Struct, frozen=True):
    """The run beside its estimate."""

    usd_low: float | None
    usd_high: float | None
    projected_usd: float | None
    drift: list[str]


class Baseline(msgspec.Struct, frozen=True):
    """A report."""

    schema: int
    output: str
    started: str
    wall_s: float
    rows: _Rows
    calls: _Calls
    endpoints: dict[str, _Endpoint]
    estimate: Held | None = None
    bottleneck: Bottleneck | None = None

    @property
    def calls_per_s(self) -> float | None:
        """The pace of the calls, None where there was none."""
        return self.calls.attempts / self.wall_s if self.calls.attempts and self.wall_s else None

    def provider_rpm(self, endpoint: str) -> float | None:
        """Return the requests a minute that an endpoint has said that it takes."""
        found = self.endpoints.get(endpoint)
        return found.limits.provider_rpm if found is not None and found.limits else None


def baseline_of(seen: JobState) -> Baseline | None:
    """Return the report of an earlier run of a job, None where there is none."""
    if not seen.keeps or seen.job is None:
        return None
    try:
        raw = Path(seen.config.files.report or seen.files.report).read_bytes()
        found = msgspec.json.decode(raw, type=Baseline)
    except (OSError, ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None
    is_ours = (found.schema, found.output) == (SCHEMA_VERSION, str(seen.files.output))
    return found if is_ours else None
