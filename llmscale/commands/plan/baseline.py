"""The baseline of a plan: what the report of an earlier run of the job says.

Decoded with types, so that a file that is not a report of ours is no baseline.
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


class _Bottleneck(msgspec.Struct, frozen=True):
    main: str
    says: str


class _Estimate(msgspec.Struct, frozen=True):
    """The run compared with its estimate."""

    usd_low: float | None
    usd_high: float | None
    projected_usd: float | None
    drift: list[str]


class Baseline(msgspec.Struct, frozen=True):
    """The fields of a report that the checks use."""

    schema: int
    output: str
    started: str
    wall_s: float
    rows: _Rows
    calls: _Calls
    endpoints: dict[str, _Endpoint]
    estimate: _Estimate | None = None
    bottleneck: _Bottleneck | None = None

    @property
    def calls_per_s(self) -> float | None:
        """Calls per second; None if the run made none."""
        return self.calls.attempts / self.wall_s if self.calls.attempts and self.wall_s else None

    def provider_rpm(self, endpoint: str) -> float | None:
        """Return the requests per minute that the provider reported for an endpoint."""
        found = self.endpoints.get(endpoint)
        return found.limits.provider_rpm if found is not None and found.limits else None


def baseline_of(job: JobState) -> Baseline | None:
    """Return the report of the latest run of a job; None where there is none."""
    if not job.to_file or job.manifest is None:
        return None
    try:
        raw = Path(job.config.files.report or job.paths.report).read_bytes()
        found = msgspec.json.decode(raw, type=Baseline)
    except (OSError, ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None
    is_ours = (found.schema, found.output) == (SCHEMA_VERSION, str(job.paths.output))
    return found if is_ours else None
