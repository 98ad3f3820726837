"""A total over rows that were not seen, from a stratified sample of their like, with 95 % bounds.

The estimate: in each stratum the mean of the sample, corrected by how the rows to be told of differ
from it in size (the difference estimator), times their number. Its error is that of the mean and
that of the rows themselves, which is the finite population correction (Cochran, "Sampling
Techniques", 3rd ed., 1977, 5.4, 7.2; Valliant, Dorfman, Royall, "Finite Population Sampling and
Inference", 2000). Student's t with Satterthwaite's degrees of freedom (Cochran 5.16).

Lengths of answers are skewed, and then Student's bounds are too low. So each bound is the farther
one of his and of the bootstrap-t, made of the same strata (Efron, Tibshirani, "An Introduction to
the Bootstrap", 1993, 12.5). Where resamples have lost the few rows that differ, that has no bound
of its own: it goes no farther than Student's widest, with one degree of freedom. The draws are the
same each time. What is too rare to be in the sample no interval knows of.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
_TAILS = (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2)
_RESAMPLES = 1_000
_MIN_RESAMPLED = 5  # rows of a stratum; fewer tell nothing of a skew
_SEED = 20_260_102

Floats = NDArray[np.float64]


class Part(NamedTuple):
    """A stratum: what was seen in the sample, and the rows that are to be told of."""

    seen: Floats  # a value for each row of the sample
    sizes: Floats  # of the same rows
    rest: float  # rows to be told of
    rest_size: float  # their sizes together
    slope: float = 0.0  # what one more of size adds; a wrong one costs width, never the truth

    @property
    def residuals(self) -> Floats:
        """What the sizes do not explain."""
        return self.seen - self.slope * self.sizes

    @property
    def weight(self) -> float:
        """The variance of the total for a variance of 1 among the rows."""
        return self.rest**2 / len(self.seen) + self.rest


def predicted(parts: Sequence[Part]) -> Interval:
    """Return the total over the rows that are to be told of, none of which is below 0.

    Unknown where a stratum has such rows and none was seen.
    """
    parts = [part for part in parts if part.rest > 0]
    if not parts:
        return NOTHING
    if any(not len(part.seen) for part in parts):
        return UNKNOWN
    total = sum(p.rest * float(p.residuals.mean()) + p.slope * p.rest_size for p in parts)
    variances = [p.weight * _variance(p.residuals) for p in parts]
    deviation = math.sqrt(sum(variances))
    if not deviation:
        return Interval(total, total, total)
    freedom = deviation**4 / sum(
        v**2 / max(len(p.seen) - 1, 1) for v, p in zip(variances, parts, strict=True)
    )
    student = _student(freedom)
    lower, upper = _resampled(parts)
    low = total - max(student, upper) * deviation
    high = total + max(student, -lower) * deviation
    return Interval(total, max(0.0, low), high)


def share(count: int, of: int) -> Interval:
    """Return a share with Wilson's bounds (1927), unknown where there is nothing to share."""
    if not of:
        return UNKNOWN
    middle = (count + _Z**2 / 2) / (of + _Z**2)
    half = _Z / (of + _Z**2) * math.sqrt(count * (of - count) / of + _Z**2 / 4)
    return Interval(count / of, max(0.0, middle - half), min(1.0, middle + half))


def _variance(values: Floats) -> float:
    """One value alone is taken to be off by as much as it is."""
    return float(values.var(ddof=1)) if len(values) > 1 else float(values[0]) ** 2


def _resampled(parts: Sequence[Part]) -> tuple[float, float]:
    """Return the outer quantiles of t over resamples of the sample, 0 where it is too small."""
    numbers = np.random.default_rng(_SEED)
    errors, variances = np.zeros(_RESAMPLES), np.zeros(_RESAMPLES)
    for part in parts:
        values = part.residuals
        if len(values) < _MIN_RESAMPLED:
            continue
        again = values[numbers.integers(0, len(values), (_RESAMPLES, len(values)))]
        errors += part.rest * (again.mean(axis=1) - values.mean())
        variances += part.weight * again.var(axis=1, ddof=1)
    some = variances > 0
    if not some.any():
        return 0.0, 0.0
    widest = _student(1)
    found = np.quantile(errors[some] / np.sqrt(variances[some]), _TAILS).clip(-widest, widest)
    return float(found[0]), float(found[1])


def _student(freedom: float) -> float:
    """Return the quantile of Student's t (Abramowitz, Stegun, 1964, 26.7.5).

    Exact for 1 and 2, to which what is below 3 is rounded down.
    """
    freedom += 1e-9  # what is 2 may have come out a hair lower
    if freedom < 2:
        return math.tan(math.pi * CONFIDENCE / 2)
    if freedom < 3:
        return CONFIDENCE * math.sqrt(2 / (1 - CONFIDENCE**2))
    z = _Z
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92_160 * freedom**4)
    )
