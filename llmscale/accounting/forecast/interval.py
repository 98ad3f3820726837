"""A value with its 95 % bounds, any of which may be unknown."""

from collections.abc import Iterable

import msgspec


class Interval(msgspec.Struct, frozen=True):
    """A best estimate and its 95 % bounds. None: unknown."""

    estimate: float | None = None
    low: float | None = None
    high: float | None = None

    def rounded(self, digits: int | None = None) -> "Interval":
        """Return the interval rounded to so many digits; None: to whole numbers."""
        values = (self.estimate, self.low, self.high)
        return Interval(*(None if v is None else round(v, digits) for v in values))


UNKNOWN = Interval()
NOTHING = Interval(0.0, 0.0, 0.0)


def sum_intervals(intervals: Iterable[Interval]) -> Interval:
    """Return the sum; a value that one of the intervals lacks is unknown.

    Bounds add as if all errors went the same way: too wide for 95 % bounds, never too narrow.
    """
    terms = [(i.estimate, i.low, i.high) for i in (NOTHING, *intervals)]
    return Interval(*(_sum(column) for column in zip(*terms, strict=True)))


def _sum(values: Iterable[float | None]) -> float | None:
    known = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return sum(known)
