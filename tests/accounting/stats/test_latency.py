"""A distribution as a histogram: every duration is in one bin, under a bound that holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from llmscale.accounting.stats import Latency, latency
from llmscale.accounting.stats.summaries import Histogram

DURATIONS = st.lists(st.just(0.0) | st.floats(1e-7, 1e5), max_size=200)


def counted(seconds: list[float]) -> Latency:
    found = Latency()
    for duration_s in seconds:
        found.add(duration_s)
    return found


@given(DURATIONS)
def test_the_bins_of_a_histogram_are_few_and_rising_and_hold_every_duration(
    seconds: list[float],
) -> None:
    found = counted(seconds).histogram()
    uppers, rows = found.upper_s, found.rows
    assert len(uppers) == len(rows) <= latency.MAX_BINS
    assert uppers == sorted(set(uppers))
    assert sum(rows) == len(seconds)
    assert all(isinstance(count, int) for count in rows)


@given(DURATIONS)
def test_up_to_each_bound_there_are_as_many_durations_as_the_bins_say(
    seconds: list[float],
) -> None:
    found = counted(seconds).histogram()
    below = 0.0
    for upper_s, count in zip(found.upper_s, found.rows, strict=True):
        below += count
        epsilon = 1 + 1e-5  # bounds have six digits
        assert sum(s <= upper_s / epsilon for s in seconds) <= below
        assert below <= sum(s <= upper_s * epsilon for s in seconds)


def test_the_bins_are_equal_ratios() -> None:
    found = counted([0.001 * 1.05**n for n in range(300)]).histogram()
    ratios = [b / a for a, b in zip(found.upper_s, found.upper_s[1:-1], strict=False)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)


def test_of_nothing_there_is_no_bin_and_of_zero_seconds_one() -> None:
    assert Latency().histogram() == Histogram([], [])
    zeros = counted([0.0, 0.0])
    assert zeros.histogram() == Histogram([0.0], [2])
    assert set(asdict(zeros.summary()).values()) == {0.0}


@pytest.mark.parametrize("count", [1, 999, 1_000, 1_001, 2_500])
def test_what_is_gathered_and_what_is_counted_already_are_one_distribution(count: int) -> None:
    found, other = counted([0.25] * count), counted([0.5] * count)
    found.merge(other)
    assert found.summary().mean == pytest.approx(0.375)
    assert found.summary().max == 0.5
    assert sum(found.histogram().rows) == 2 * count
    assert other.summary().mean == 0.5
