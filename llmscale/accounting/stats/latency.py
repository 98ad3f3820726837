"""How long things took, as a distribution that merges and stays small."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from ddsketch import DDSketch

from llmscale.accounting.stats.sketch_bins import bins_of
from llmscale.accounting.stats.summaries import Histogram, LatencySummary

RELATIVE_ACCURACY = 0.01
MAX_BINS = 40
_GATHERED = 1_000  # durations: the clock ticks in ms, and equal ones are counted together
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class Latency:
    """A distribution of seconds. Quantiles are right to 1 %.

    Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019.
    """

    def __init__(self) -> None:
        self._gathered: list[float] = []
        self._counted = DDSketch(RELATIVE_ACCURACY)
        self._max_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._gathered.append(seconds)
        if len(self._gathered) >= _GATHERED:
            self._count()

    def merge(self, other: "Latency") -> None:
        """Take in another distribution."""
        self._sketch.merge(other._sketch)
        self._max_s = max(self._max_s, other._max_s)

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return int(self._sketch.count)

    @property
    def sum_s(self) -> float:
        """All of them together."""
        return float(self._sketch.sum)

    def counts_up_to(self, bounds_s: Sequence[float]) -> list[int]:
        """Return for each bound how many were not above it; the bounds are right to 1 %."""
        bins = bins_of(self._sketch)
        found = [bins.zeros] * len(bounds_s)
        for key, in_bin in bins.counts.items():
            at = bisect_left(bounds_s, bins.value_s(key))
            for i in range(at, len(bounds_s)):
                found[i] += in_bin
        return found

    def summary(self) -> LatencySummary:
        """Return quantiles, mean and maximum in seconds; None where nothing was counted."""
        sketch = self._sketch
        if not sketch.count:
            return LatencySummary()
        quantiles = {
            name: round(sketch.get_quantile_value(q) or 0.0, 6) for name, q in QUANTILES.items()
        }
        mean_s = round(sketch.sum / sketch.count, 6)
        return LatencySummary(**quantiles, mean=mean_s, max=round(self._max_s, 6))

    def histogram(self) -> Histogram:
        """Return how many were up to so many seconds and above those before, in equal ratios.

        Both lists are empty where nothing was counted; they have `MAX_BINS` entries at most.
        """
        bins = bins_of(self._sketch)
        counts, zeros = bins.counts, bins.zeros
        uppers, found = ([0.0], [zeros]) if zeros else ([], [])
        if counts:
            first, last = min(counts), max(counts)
            width = -(-(last - first + 1) // (MAX_BINS - 1))
            for low in range(first, last + 1, width):
                in_bin = sum(counts.get(key, 0) for key in range(low, low + width))
                upper_s = bins.value_s(min(low + width - 1, last)) / (1 - RELATIVE_ACCURACY)
                uppers.append(float(f"{upper_s:.6g}"))
                found.append(in_bin)
        return Histogram(uppers, found)

    @property
    def _sketch(self) -> DDSketch:
        """All that was added."""
        self._count()
        return self._counted

    def _count(self) -> None:
        if self._gathered:
            self._max_s = max(self._max_s, max(self._gathered))
            for seconds, count in Counter(self._gathered).items():
                self._counted.add(seconds, count)
            self._gathered.clear()
