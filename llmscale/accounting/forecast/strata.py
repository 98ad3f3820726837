"""Strata by model and prompt size, and the draw of a sample from them.

Proportional allocation, and draws without replacement (Cochran, "Sampling Techniques", 3rd ed.,
1977, chapter 5). The same rows are drawn each time: every row has a permanent random number, and in
each stratum the rows with the lowest numbers are drawn (Ohlsson, "Coordination of samples using
permanent random numbers", 1995). So a larger sample contains the smaller one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_STRATA = 5  # per model
ROWS_PER_STRATUM = 10  # of the sample: a model gets one stratum for each
MIN_DRAWN = 2  # per stratum: one row shows no variance
_SEED = 20_260_101

Ints = NDArray[np.int64]
Whole = NDArray[np.integer[Any]]


class Strata:
    """Splits the rows of each model at the quantiles of their sizes."""

    def __init__(self, models: Whole, sizes: Whole, sampled: Ints) -> None:
        """`models` and `sizes` of the rows; `sampled`: rows of the sample, for each model."""
        self._cuts: list[NDArray[np.float64]] = []
        self._first = [0]
        for model, count in enumerate(sampled):
            own = sizes[models == model]
            wanted = min(max(int(count) // ROWS_PER_STRATUM, 1), MAX_STRATA)
            shares = np.arange(1, wanted) / wanted
            cuts = np.unique(np.quantile(own, shares)) if own.size else np.empty(0)
            self._cuts.append(cuts)
            self._first.append(self._first[-1] + len(cuts) + 1)

    @property
    def count(self) -> int:
        """Number of strata. Some may be empty."""
        return self._first[-1]

    def of_model(self, model: int) -> range:
        """Return the numbers of the strata of a model, smallest rows first."""
        return range(self._first[model], self._first[model + 1])

    def of(self, models: Whole, sizes: Whole) -> Ints:
        """Return the number of the stratum of each row."""
        found = np.zeros(len(models), np.int64)
        for model, cuts in enumerate(self._cuts):
            own = models == model
            found[own] = self._first[model] + np.searchsorted(cuts, sizes[own], side="right")
        return found


def allocate(counts: Ints, size: int) -> Ints:
    """Allocate a sample of `size` rows to groups of so many rows, by largest remainders.

    Each group gets at least `MIN_DRAWN`, or all of its rows; so the sum may exceed `size`.
    """
    total = int(counts.sum())
    if not total:
        return np.zeros_like(counts)
    exact = counts * (size / total)
    found = np.floor(exact).astype(np.int64)
    left = max(0, min(size, total) - int(found.sum()))
    found[np.argsort(found - exact, kind="stable")[:left]] += 1
    at_least: Ints = np.minimum(np.maximum(found, MIN_DRAWN), counts)
    return at_least


def draw(strata: Ints, indexes: Ints, counts: Ints, rows: int) -> Ints:
    """Return the indexes of the drawn rows, ascending.

    `strata`: of the rows with these `indexes`, in an input of `rows`; `counts`: rows to draw from
    each stratum.
    """
    numbers = np.random.default_rng(_SEED).random(rows)[indexes]
    order = np.lexsort((numbers, strata))
    sizes = np.bincount(strata, minlength=len(counts))
    begins = np.cumsum(sizes) - sizes
    chosen = [order[b : b + n] for b, n in zip(begins, counts, strict=True)]
    taken: Ints = np.sort(indexes[np.concatenate(chosen)]) if chosen else indexes[:0]
    return taken


def draw_stratified(models: Whole, sizes: Whole, indexes: Ints, rows: int, size: int) -> Ints:
    """Draw about `size` rows in proportion to models, and within each model to sizes.

    `models` and `sizes` of the rows with these `indexes`, in an input of `rows`. Returns the
    indexes of the drawn rows, ascending.
    """
    strata = Strata(models, sizes, allocate(np.bincount(models), size))
    numbers = strata.of(models, sizes)
    counts = allocate(np.bincount(numbers, minlength=strata.count), size)
    return draw(numbers, indexes, counts, rows)


def collapse(observed: Ints, groups: Sequence[range]) -> Ints:
    """Return for each stratum the one that stands for it: itself, if rows of it were observed.

    Else the next larger one of its group with observed rows, or the next smaller (collapsed strata,
    Cochran 5A.12). A group without any stays as it is.
    """
    found = np.arange(len(observed))
    for group in groups:
        known = [number for number in group if observed[number]]
        for number in group:
            larger = [other for other in known if other >= number]
            if known:
                found[number] = larger[0] if larger else known[-1]
    return found
