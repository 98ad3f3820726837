"""Totals with bounds: right for known cases, and as often as their confidence says."""

import math

import numpy as np
import pytest

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval
from llmscale.accounting.forecast.prediction import (
    CONFIDENCE,
    StratumSample,
    predict_total,
    wilson_interval,
)
from tests.benchmarks.coverage import coverage
from tests.benchmarks.estimate_jobs import JOBS


def stratum(*observed: float, remaining: float = 10.0) -> StratumSample:
    values = np.array(observed)
    return StratumSample(values, np.zeros(len(observed)), remaining, 0.0)


def test_rows_that_are_all_alike_are_predicted_exactly() -> None:
    assert predict_total([stratum(2.0, 2.0, 2.0), stratum(5.0, 5.0, remaining=1)]) == Interval(
        25.0, 25.0, 25.0
    )


def test_no_remaining_rows_total_nothing() -> None:
    assert predict_total([]) == NOTHING
    assert predict_total([stratum(1.0, 9.0, remaining=0)]) == NOTHING


def test_a_stratum_without_observations_is_unknown() -> None:
    assert predict_total([stratum(1.0, 2.0), stratum()]) == UNKNOWN


def test_a_small_sample_has_students_bounds_with_the_finite_population_correction() -> None:
    """Worked out by hand: mean 2, variance 1, t = 4.3027 for two degrees of freedom."""
    found = predict_total([stratum(1.0, 2.0, 3.0, remaining=27)])
    half = 4.302653 * math.sqrt(27**2 * 1.0 * (1 / 3 + 1 / 27))
    assert found.estimate == 54
    assert found.high == pytest.approx(54 + half, rel=1e-6)
    assert found.low == pytest.approx(0.0), "no total is below 0"
    whole = 30**2 * (1 - 3 / 30) / 3  # as Cochran has it, for the total of all 30
    assert pytest.approx(whole) == 27**2 * (1 / 3 + 1 / 27)


def test_fewer_remaining_rows_give_narrower_bounds() -> None:
    wide, narrow = (
        predict_total([stratum(1.0, 2.0, 3.0, 4.0, remaining=remaining)]) for remaining in (100, 1)
    )
    for span in (wide, narrow):
        assert span.low is not None
        assert span.high is not None
    assert wide.high is not None
    assert narrow.high is not None
    assert wide.high - 250 > 40 * (narrow.high - 2.5)


def test_the_variance_of_a_single_row_is_its_square() -> None:
    found = predict_total([stratum(3.0, remaining=9)])
    assert found.estimate == 27
    assert found.high == pytest.approx(27 + 12.7062 * 3 * math.sqrt(9**2 + 9), rel=1e-4)


MS = (0.0010000000002037268, 0.0009999999997489795)
"""A millisecond between two readings of a clock that ticks in such, as floats have it."""


@pytest.mark.parametrize(
    ("alike", "outlier"),
    [(MS, 0.002), ((20e-6, 21e-6), 0.05), ((20e-6, 21e-6), 1.0), ((20e-6, 21e-6), 60.0)],
)
def test_one_call_that_took_longer_than_equal_ones_is_bounded_by_students_widest(
    alike: tuple[float, float], outlier: float
) -> None:
    """Resamples without it have next to no variance, and a t without bound: days, for a second."""
    parts = [stratum(*alike * 5, remaining=800.0) for _ in range(4)]
    parts.append(stratum(*alike * 4, outlier, remaining=800.0))
    found = predict_total(parts)
    deviation = math.sqrt(sum(p.weight * float(p.observed.var(ddof=1)) for p in parts))
    assert found.estimate is not None
    assert found.high is not None
    assert found.estimate < found.high <= found.estimate + 12.7063 * deviation


def test_a_value_that_grows_with_size_is_predicted_by_the_size_of_the_remaining_rows() -> None:
    sizes = np.array([1.0, 2.0, 3.0])
    assert predict_total([StratumSample(10 * sizes, sizes, 2, 100.0, slope=10)]) == Interval(
        1000, 1000, 1000
    )


def test_a_wrong_slope_gives_no_bias_where_the_remaining_rows_are_like_the_sample() -> None:
    sizes = np.array([1.0, 2.0, 3.0, 4.0])
    seen = np.array([4.0, 2.0, 9.0, 1.0])
    found = [
        predict_total([StratumSample(seen, sizes, 8, 20.0, slope)]).estimate
        for slope in (0.0, 1.0, 50)
    ]
    assert found == [pytest.approx(32.0)] * 3


def test_a_skewed_sample_has_a_farther_upper_bound() -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 60)
    found = predict_total([StratumSample(values, np.zeros(60), 5_000, 0.0)])
    assert found.estimate is not None
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.estimate > 1.1 * (found.estimate - found.low)


def test_the_bounds_are_reproducible() -> None:
    values = np.random.default_rng(2).lognormal(0, 1, 30)
    again = [predict_total([StratumSample(values, np.zeros(30), 99, 0.0)]) for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize("name", [job.name for job in JOBS])
def test_the_bounds_hold_as_often_as_their_confidence_says(name: str) -> None:
    """Of 80 draws at least 70; of 1,000, which take their time: tests.benchmarks.estimate."""
    held = coverage(name, sample=50, draws=80)
    assert held.share >= 70 / 80
    assert held.width < 1.0, "wide enough bounds always hold"


def test_a_share_has_wilsons_bounds() -> None:
    """Worked out by hand for 5 of 10, and for 0 of 10: z^2 / (n + z^2)."""
    found = wilson_interval(5, 10)
    assert found.estimate == 0.5
    assert found.low == pytest.approx(0.2366, abs=1e-4)
    assert found.high == pytest.approx(0.7634, abs=1e-4)
    z2 = 1.959964**2
    assert wilson_interval(0, 10).low == pytest.approx(0.0, abs=1e-12)
    assert wilson_interval(0, 10).high == pytest.approx(z2 / (10 + z2), rel=1e-5)
    assert wilson_interval(0, 0) == UNKNOWN
    assert CONFIDENCE == 0.95
