"""The numbers of a run in their final form, as the report and other readers have them.

Null in JSON is None here: nothing was counted, or a price is not known.
"""

import msgspec

from llmscale.core.records import Usage


class LatencySummary(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; None where nothing was counted."""

    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    mean: float | None = None
    max: float | None = None


class Histogram(msgspec.Struct, frozen=True):
    """How many were up to so many seconds and above those before."""

    upper_s: list[float]
    rows: list[int]


class SavedSummary(msgspec.Struct, frozen=True):
    """What was not paid for again."""

    tokens: int
    usd: float


class RowsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What became of rows."""

    answered: int
    truncated: int
    cached: int
    deduped: int
    fallback: int
    failed: int
    failures: dict[str, int]
    latency_s: LatencySummary
    latency_histogram: Histogram


class FailureSummary(msgspec.Struct, frozen=True):
    """Failed rows with one message, and one of them."""

    kind: str
    message: str
    count: int
    row: int  # its index
    id: str | int | None

    def plus(self, count: int) -> "FailureSummary":
        """Return the same with so many more rows."""
        return msgspec.structs.replace(self, count=self.count + count)


class CallsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent, and what it cost."""

    attempts: int
    retries: int
    failures: dict[str, int]
    tokens: Usage
    cost_usd: float | None
    unpriced: int
    queued_s: LatencySummary
    limited_s: LatencySummary
    latency_s: LatencySummary
    total_s: LatencySummary


class BatchesSummary(msgspec.Struct, frozen=True):
    """Rows that went out in one call; the means are None without a batch."""

    count: int
    rows: int
    mean_rows: float | None
    mean_fill: float | None


class UserSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rows of one user, or of all others."""

    user: str | None = None
    rows: int
    failed: int
    tokens: int
    cost_usd: float | None


class UsersSummary(msgspec.Struct, frozen=True):
    """The users with the highest cost, and all others together."""

    top: list[UserSummary]
    others: UserSummary | None


class Timeline(msgspec.Struct, frozen=True):
    """A run over time, in steps of `step_s` seconds: an entry for each step."""

    step_s: float
    rows: list[int]
    failed: list[int]
    tokens: list[int]
    cost_usd: list[float]
    in_flight: list[float]
    waiting: list[float]
