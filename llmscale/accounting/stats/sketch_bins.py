"""The bins of a DDSketch, which the library keeps to itself: the one place that reads them.

The library has quantiles but no way to the counts behind them, which a histogram and the buckets of
Prometheus need. Written for ddsketch 3; a test holds it against quantiles.
"""

from collections.abc import Callable
from typing import NamedTuple

from ddsketch import DDSketch


class Bins(NamedTuple):
    """How many values are in each bin, by its key; keys grow with the values."""

    zeros: int  # values of 0
    counts: dict[int, int]
    value_s: Callable[[int], float]  # of a key: the middle of its bin


def bins_of(sketch: DDSketch) -> Bins:
    """Return the bins of a sketch that are not empty."""
    store, mapping = sketch._store, sketch._mapping
    counts = {store.offset + place: round(n) for place, n in enumerate(store.bins) if n}
    return Bins(round(sketch.count - store.count), counts, mapping.value)
