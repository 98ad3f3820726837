"""How long things took, as a distribution that merges and stays small."""

from ddsketch import DDSketch

RELATIVE_ACCURACY = 0.01
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class Latency:
    """A distribution of seconds. Quantiles are right to 1 %.

    Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019.
    """

    def __init__(self) -> None:
        self._sketch = DDSketch(RELATIVE_ACCURACY)
        self._max_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._sketch.add(seconds)
        if seconds > self._max_s:
            self._max_s = seconds

    def merge(self, other: "Latency") -> None:
        """Take in another distribution."""
        self._sketch.merge(other._sketch)
        self._max_s = max(self._max_s, other._max_s)

    def summary(self) -> dict[str, float | None]:
        """Return quantiles, mean and maximum in seconds; None where nothing was counted."""
        count = self._sketch.count
        if not count:
            return dict.fromkeys((*QUANTILES, "mean", "max"))
        quantiles = {name: self._sketch.get_quantile_value(q) for name, q in QUANTILES.items()}
        figures = {**quantiles, "mean": self._sketch.sum / count, "max": self._max_s}
        return {name: round(seconds, 6) for name, seconds in figures.items()}
