"""A run compared with what was estimated of its job."""

import msgspec


class DriftSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run compared with its estimate. None: unknown."""

    usd: float | None
    usd_low: float | None
    usd_high: float | None
    hours: float | None
    hours_low: float | None
    hours_high: float | None
    projected_usd: float | None  # of all rows, at the cost of those sent so far
    projected_hours: float | None
    drift: list[str]  # "usd", "hours": outside of their bounds
