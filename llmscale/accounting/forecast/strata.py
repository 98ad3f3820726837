"""Which rows are asked first, so that they stand for all: by model, and by the size of the prompt.

Proportional allocation, and the draw without replacement (Cochran, "Sampling Techniques", 3rd ed.,
1977, chapter 5). The same rows are drawn each time: every row has a random number of its own, and
in each stratum those with the lowest go first (Ohlsson, "Coordination of samples using permanent
random numbers", 1995). So a larger sample holds the smaller one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_STRATA = 5  # of a model
SEEN_IN_STRATUM = 10  # rows, before a model is cut into two strata or more
MIN_DRAWN = 2  # of a stratum: from one row nobody learns how much they differ
_SEED = 20_260_101

Ints = NDArray[np.int64]
Whole = NDArray[np.integer[Any]]


class Strata:
    """Cuts the rows of each model at the quantiles of their sizes."""

    def __init__(self, models: Whole, sizes: Whole, seen: Ints) -> None:
        """`models` and `sizes` of the rows; `seen`: for each model, how many are asked of it."""
        self._cuts: list[NDArray[np.float64]] = []
        self._first = [0]
        for model, count in enumerate(seen):
            own = sizes[models == model]
            wanted = min(max(int(count) // SEEN_IN_STRATUM, 1), MAX_STRATA)
            shares = np.arange(1, wanted) / wanted
            cuts = np.unique(np.quantile(own, shares)) if own.size else np.empty(0)
            self._cuts.append(cuts)
            self._first.append(self._first[-1] + len(cuts) + 1)

    @property
    def count(self) -> int:
        """How many there are. Some may be empty."""
        return self._first[-1]

    def of_model(self, model: int) -> range:
        """Return the numbers of the strata of a model, from small rows to large ones."""
        return range(self._first[model], self._first[model + 1])

    def of(self, models: Whole, sizes: Whole) -> Ints:
        """Return the number of the stratum of each row."""
        found = np.zeros(len(models), np.int64)
        for model, cuts in enumerate(self._cuts):
            own = models == model
            found[own] = self._first[model] + np.searchsorted(cuts, sizes[own], side="right")
        return found


def allotted(counts: Ints, wanted: int) -> Ints:
    """Return how many rows each group of so many gets of `wanted`: by largest remainders.

    At least `MIN_DRAWN` each, or all that it has; so they may be more than `wanted` together.
    """
    total = int(counts.sum())
    if not total:
        return np.zeros_like(counts)
    exact = counts * (wanted / total)
    found = np.floor(exact).astype(np.int64)
    left = max(0, min(wanted, total) - int(found.sum()))
    found[np.argsort(found - exact, kind="stable")[:left]] += 1
    at_least: Ints = np.minimum(np.maximum(found, MIN_DRAWN), counts)
    return at_least


def drawn(strata: Ints, indexes: Ints, counts: Ints, rows: int) -> Ints:
    """Return the indexes of the rows that are drawn, in order.

    `strata` of the rows with these `indexes`, of an input of `rows`; `counts`: how many of each.
    """
    batches = np.random.default_rng(_SEED).random(rows)[indexes]
    order = np.lexsort((batches, strata))
    sizes = np.bincount(strata, minlength=len(counts))
    begins = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    chosen = [order[b : b + n] for b, n in zip(begins, counts, strict=True)]
    taken: Ints = np.sort(indexes[np.concatenate(chosen)]) if chosen else indexes[:0]
    return taken


def collapsed(seen: Ints, groups: Sequence[range]) -> Ints:
    """Return for each stratum the one that it is counted with: itself, where rows of it were seen.

    Else the next larger one of its group that has some, or the next smaller; a group of which
    nothing was seen stays as it is.
    """
    found = np.arange(len(seen))
    for group in groups:
        known = [number for number in group if seen[number]]
        for number in group:
            larger = [other for other in known if other >= number]
            if known:
                found[number] = larger[0] if larger else known[-1]
    return found
