"""A total and its bounds: right for known cases, and right as often as they say."""

import math

import numpy as np
import pytest

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval
from llmscale.accounting.forecast.prediction import CONFIDENCE, Part, predicted, share
from tests.benchmarks.coverage import coverage
from tests.benchmarks.estimate_jobs import JOBS


def part(*seen: float, rest: float = 10.0) -> Part:
    values = np.array(seen)
    return Part(values, np.zeros(len(seen)), rest, 0.0)


def test_rows_that_are_all_alike_are_told_exactly() -> None:
    assert predicted([part(2.0, 2.0, 2.0), part(5.0, 5.0, rest=1)]) == Interval(25.0, 25.0, 25.0)


def test_of_no_rows_there_is_nothing_to_tell() -> None:
    assert predicted([]) == NOTHING
    assert predicted([part(1.0, 9.0, rest=0)]) == NOTHING


def test_rows_of_which_none_was_seen_are_not_guessed() -> None:
    assert predicted([part(1.0, 2.0), part()]) == UNKNOWN


def test_a_small_sample_has_students_bounds_with_the_finite_population_correction() -> None:
    """Worked out by hand: mean 2, variance 1, t = 4.3027 for two degrees of freedom."""
    found = predicted([part(1.0, 2.0, 3.0, rest=27)])
    half = 4.302653 * math.sqrt(27**2 * 1.0 * (1 / 3 + 1 / 27))
    assert found.estimate == 54
    assert found.high == pytest.approx(54 + half, rel=1e-6)
    assert found.low == pytest.approx(0.0), "no total is below 0"
    whole = 30**2 * (1 - 3 / 30) / 3  # as Cochran has it, for the total of all 30
    assert pytest.approx(whole) == 27**2 * (1 / 3 + 1 / 27)


def test_the_fewer_rows_are_left_the_less_the_total_can_be_off() -> None:
    wide, narrow = (predicted([part(1.0, 2.0, 3.0, 4.0, rest=rest)]) for rest in (100, 1))
    for span in (wide, narrow):
        assert span.low is not None
        assert span.high is not None
    assert wide.high is not None
    assert narrow.high is not None
    assert wide.high - 250 > 40 * (narrow.high - 2.5)


def test_a_row_that_was_seen_alone_may_be_off_by_as_much_as_it_is() -> None:
    found = predicted([part(3.0, rest=9)])
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
    parts = [part(*alike * 5, rest=800.0) for _ in range(4)]
    parts.append(part(*alike * 4, outlier, rest=800.0))
    found = predicted(parts)
    deviation = math.sqrt(sum(p.weight * float(p.seen.var(ddof=1)) for p in parts))
    assert found.estimate is not None
    assert found.high is not None
    assert found.estimate < found.high <= found.estimate + 12.7063 * deviation


def test_what_goes_with_size_is_told_by_the_size_of_the_rest() -> None:
    sizes = np.array([1.0, 2.0, 3.0])
    assert predicted([Part(10 * sizes, sizes, 2, 100.0, slope=10)]) == Interval(1000, 1000, 1000)


def test_a_wrong_slope_moves_no_estimate_where_the_rest_is_like_the_sample() -> None:
    sizes = np.array([1.0, 2.0, 3.0, 4.0])
    seen = np.array([4.0, 2.0, 9.0, 1.0])
    found = [predicted([Part(seen, sizes, 8, 20.0, slope)]).estimate for slope in (0.0, 1.0, 50)]
    assert found == [pytest.approx(32.0)] * 3


def test_a_skewed_sample_has_a_longer_way_up_than_down() -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 60)
    found = predicted([Part(values, np.zeros(60), 5_000, 0.0)])
    assert found.estimate is not None
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.estimate > 1.1 * (found.estimate - found.low)


def test_the_bounds_are_the_same_each_time() -> None:
    values = np.random.default_rng(2).lognormal(0, 1, 30)
    again = [predicted([Part(values, np.zeros(30), 99, 0.0)]) for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize("name", [job.name for job in JOBS])
def test_the_bounds_hold_as_often_as_they_say(name: str) -> None:
    """Of 80 draws at least 70; of 1,000, which take their time: tests.benchmarks.estimate."""
    held = coverage(name, sample=50, draws=80)
    assert held.share >= 70 / 80
    assert held.width < 1.0, "bounds that are far enough always hold"


def test_a_share_has_wilsons_bounds() -> None:
    """Worked out by hand for 5 of 10, and for 0 of 10: z^2 / (n + z^2)."""
    found = share(5, 10)
    assert found.estimate == 0.5
    assert found.low == pytest.approx(0.2366, abs=1e-4)
    assert found.high == pytest.approx(0.7634, abs=1e-4)
    z2 = 1.959964**2
    assert share(0, 10).low == pytest.approx(0.0, abs=1e-12)
    assert share(0, 10).high == pytest.approx(z2 / (10 + z2), rel=1e-5)
    assert share(0, 0) == UNKNOWN
    assert CONFIDENCE == 0.95
