"""A figure with its 95 % bounds, any of which may be unknown."""

from collections.abc import Iterable

import msgspec


class Interval(msgspec.Struct, frozen=True):
    """A figure and its 95 % bounds. None: not known."""

    estimate: float | None = None
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> "Interval":
        """Return the span of so many times the figure."""
        return Interval(*(None if v is None else v * factor for v in self._values()))

    def plus(self, known: float) -> "Interval":
        """Return the span with what is known for sure."""
        return Interval(*(None if v is None else v + known for v in self._values()))

    def _values(self) -> tuple[float | None, ...]:
        return self.estimate, self.low, self.high


UNKNOWN = Interval()
NOTHING = Interval(0.0, 0.0, 0.0)


def together(spans: Iterable[Interval]) -> Interval:
    """Return the sum of figures whose bounds nothing passes; what one of them lacks is unknown."""
    columns = list(zip(*((s.estimate, s.low, s.high) for s in (NOTHING, *spans)), strict=True))
    return Interval(*(_sum(column) for column in columns))


def _sum(values: Iterable[float | None]) -> float | None:
    known = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return sum(known)
