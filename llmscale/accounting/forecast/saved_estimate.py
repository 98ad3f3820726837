"""`OUT.estimate.json`: what was estimated of a job, so that its run can tell when it drifts off.

Digests, settings and numbers; never a row, an answer or a key. Here is only its form: who writes it
and where is not known here.
"""

from typing import Any

import msgspec

from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.core.records import FailureKind, Usage

VERSION = 1


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one row of the sample."""

    index: int
    usage: Usage | None = None  # None: nothing was paid for
    model: str = ""  # that answered
    endpoint: str = ""
    latency_s: float | None = None  # of the attempt that answered
    kept: bool = False  # a run has the answer for nothing, from the cache
    truncated: bool = False
    failure: FailureKind | None = None


class Overhead(msgspec.Struct, frozen=True):
    """What was sent beside the attempts that answered: factors of what these took."""

    attempts: float = 1.0
    tokens: float = 1.0


class Pace(msgspec.Struct, frozen=True):
    """How an endpoint stood at the end of the sample."""

    room: float  # calls that it may have in flight
    grows: bool = False  # they became more in the sample
    rpm: float | None = None  # as it reports its limits; None: it does not
    tpm: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked before the run, and how that went."""

    observations: list[Observation]
    overhead: dict[str, Overhead]  # by model
    paces: dict[str, Pace]  # by name of endpoint
    rows_per_s: float | None = None  # None: no row was asked


class SavedEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate, and which job it is of."""

    version: int = VERSION
    inputs: list[str]  # SHA-256 of each file
    settings: dict[str, Any]  # those that change answers
    limit: int | None
    made: str  # UTC, ISO 8601
    asked: float  # rows that a run sends
    usd: Interval = UNKNOWN
    usd_deviation: float = 0.0  # of the cost of one row; 0: not known
    hours: Interval = UNKNOWN
    sample: Sample | None = None  # None: from counts alone

    def is_of(self, inputs: list[str], settings: dict[str, Any]) -> bool:
        """Tell whether it is of a job with these inputs and settings."""
        return self.inputs == inputs and self.settings == settings


def encode(kept: SavedEstimate) -> bytes:
    """Return the bytes of the file."""
    return msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n"


def decode(raw: bytes) -> SavedEstimate | None:
    """Return the estimate, None for what is none or is of another version."""
    try:
        found = msgspec.json.decode(raw, type=SavedEstimate)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None
    return found if found.version == VERSION else None
