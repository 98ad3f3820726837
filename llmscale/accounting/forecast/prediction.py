"""Predicts the total over rows that were not sent from a stratified sample, with 95 % bounds.

Estimate: in each stratum the mean of the sample, corrected by how the sizes of the remaining rows
differ from it (the difference estimator), times their number. Its error combines that of the mean
and that of the rows themselves, which is the finite population correction (Cochran, "Sampling
Techniques", 3rd ed., 1977, 5.4, 7.2; Valliant, Dorfman, Royall, "Finite Population Sampling and
Inference", 2000). Student's t with Satterthwaite's degrees of freedom (Cochran 5.16).

Lengths of answers are skewed, which makes Student's bounds too low. So each bound is the farther
one of Student's and of the bootstrap-t over the same strata (Efron, Tibshirani, "An Introduction
to the Bootstrap", 1993, 12.5). Resamples that miss the few rows that differ have no finite
bootstrap-t: it is capped at Student's widest bound, that of one degree of freedom. Resamples are
seeded, so results are reproducible. No interval knows of what is too rare to be in the sample.
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
_MIN_RESAMPLED = 5  # rows of a stratum; fewer show no skew
_SEED = 20_260_102

Floats = NDArray[np.float64]


class StratumSample(NamedTuple):
    """A stratum: the observed rows of the sample, and the remaining rows to predict."""

    observed: Floats  # a value for each row of the sample
    sizes: Floats  # of the same rows
    remaining: float  # rows to predict
    remaining_size: float  # sum of their sizes
    slope: float = 0.0  # value per unit of size; a wrong one widens the bounds, without bias

    @property
    def residuals(self) -> Floats:
        """The part of the values that size does not explain."""
        return self.observed - self.slope * self.sizes

    @property
    def weight(self) -> float:
        """Variance of the total for a variance of 1 among the rows."""
        return self.remaining**2 / len(self.observed) + self.remaining


def predict_total(strata: Sequence[StratumSample]) -> Interval:
    """Return the total over the remaining rows, with 95 % bounds, none below 0.

    Stratified difference estimator; bounds by Student's t and the bootstrap-t (see the module).
    Unknown where a stratum has remaining rows and none was observed.
    """
    strata = [stratum for stratum in strata if stratum.remaining > 0]
    if not strata:
        return NOTHING
    if any(not len(stratum.observed) for stratum in strata):
        return UNKNOWN
    total = sum(
        s.remaining * float(s.residuals.mean()) + s.slope * s.remaining_size for s in strata
    )
    variances = [s.weight * _variance(s.residuals) for s in strata]
    deviation = math.sqrt(sum(variances))
    if not deviation:
        return Interval(total, total, total)
    freedom = deviation**4 / sum(
        v**2 / max(len(s.observed) - 1, 1) for v, s in zip(variances, strata, strict=True)
    )
    student = _student(freedom)
    lower, upper = _bootstrap_t(strata)
    low = total - max(student, upper) * deviation
    high = total + max(student, -lower) * deviation
    return Interval(total, max(0.0, low), high)


def wilson_interval(count: int, of: int) -> Interval:
    """Return the share `count / of` with 95 % bounds; unknown if `of` is 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not of:
        return UNKNOWN
    middle = (count + _Z**2 / 2) / (of + _Z**2)
    half = _Z / (of + _Z**2) * math.sqrt(count * (of - count) / of + _Z**2 / 4)
    return Interval(count / of, max(0.0, middle - half), min(1.0, middle + half))


def _variance(values: Floats) -> float:
    """Return the sample variance; that of a single value is its square."""
    return float(values.var(ddof=1)) if len(values) > 1 else float(values[0]) ** 2


def _bootstrap_t(strata: Sequence[StratumSample]) -> tuple[float, float]:
    """Return the outer quantiles of t over resamples; 0 where the sample is too small."""
    rng = np.random.default_rng(_SEED)
    errors, variances = np.zeros(_RESAMPLES), np.zeros(_RESAMPLES)
    for stratum in strata:
        values = stratum.residuals
        if len(values) < _MIN_RESAMPLED:
            continue
        resamples = values[rng.integers(0, len(values), (_RESAMPLES, len(values)))]
        errors += stratum.remaining * (resamples.mean(axis=1) - values.mean())
        variances += stratum.weight * resamples.var(axis=1, ddof=1)
    some = variances > 0
    if not some.any():
        return 0.0, 0.0
    widest = _student(1)
    found = np.quantile(errors[some] / np.sqrt(variances[some]), _TAILS).clip(-widest, widest)
    return float(found[0]), float(found[1])


def _student(freedom: float) -> float:
    """Return the quantile of Student's t.

    Abramowitz, Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5. Below 3 degrees of
    freedom, the exact value for 1 or 2 (rounded down).
    """
    freedom += 1e-9  # 2 may have come out slightly lower
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
