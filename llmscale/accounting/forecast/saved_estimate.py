"""`OUT.estimate.json`: the estimate of a job, so that its run can warn when it drifts.

Digests, settings and numbers; never a row, an answer or a key. This module only has the format;
`commands.estimate` writes the file, `runtime.estimate_drift` reads it.
"""

from typing import Any

import msgspec

from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.core.records import FailureKind, Usage

VERSION = 1


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one row of the sample."""

    index: int
    usage: Usage | None = None  # None: nothing was charged
    model: str = ""  # that answered
    endpoint: str = ""
    latency_s: float | None = None  # of the attempt that answered
    kept: bool = False  # a run finds the answer in the cache
    truncated: bool = False
    failure: FailureKind | None = None


class Overhead(msgspec.Struct, frozen=True):
    """All attempts, as a factor of those that answered: retries and hedges cost too."""

    attempts: float = 1.0
    tokens: float = 1.0


class Pace(msgspec.Struct, frozen=True):
    """The state of an endpoint at the end of the sample."""

    max_in_flight: float
    grows: bool = False  # `max_in_flight` rose during the sample
    rpm: float | None = None  # reported by the provider; None: not reported
    tpm: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that were sent before the run, and how that went."""

    observations: list[Observation]
    overhead: dict[str, Overhead]  # by model
    paces: dict[str, Pace]  # by name of endpoint
    rows_per_s: float | None = None  # None: no row was sent


class SavedEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate, and the identity of its job."""

    version: int = VERSION
    inputs: list[str]  # SHA-256 of each file
    settings: dict[str, Any]  # that change answers
    limit: int | None
    made: str  # UTC, ISO 8601
    asked: float  # rows that a run sends
    usd: Interval = UNKNOWN
    usd_deviation: float = 0.0  # standard deviation of the cost of one row; 0: unknown
    hours: Interval = UNKNOWN
    sample: Sample | None = None  # None: from token counts alone

    def is_of(self, inputs: list[str], settings: dict[str, Any]) -> bool:
        """Tell whether the job has these inputs and settings."""
        return self.inputs == inputs and self.settings == settings


def encode(estimate: SavedEstimate) -> bytes:
    """Return the bytes of the file."""
    return msgspec.json.format(msgspec.json.encode(estimate), indent=1) + b"\n"


def decode(raw: bytes) -> SavedEstimate | None:
    """Return the estimate; None if the bytes are not one, or of another version."""
    try:
        found = msgspec.json.decode(raw, type=SavedEstimate)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None
    return found if found.version == VERSION else None
