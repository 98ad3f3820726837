"""A run over time: however long it takes its steps are few, and nothing of it is lost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.stats import Progressed, Series
from llmscale.accounting.stats.series import FIRST_STEP_S, MAX_STEPS

LOOKS = st.lists(
    st.tuples(
        st.floats(0.0, 40.0),  # seconds since the last one
        st.builds(
            Progressed,
            rows=st.integers(0, 100),
            failed=st.integers(0, 10),
            tokens=st.integers(0, 10_000),
            cost_usd=st.floats(0, 5),
        ),
        st.integers(0, 64),
        st.integers(0, 64),
    ),
    max_size=60,
)


def series_of(looks: Any) -> Series:
    series, at_s = Series(), 0.0
    for seconds, ended, in_flight, waiting in looks:
        at_s += seconds
        series.add(at_s, seconds, ended, in_flight, waiting)
    return series


def call_seconds(series: Series, name: str) -> float:
    """Return the sum of a mean over all steps, weighted with how long each was looked at."""
    found: list[float] = getattr(series.summary(), name)
    return sum(mean * step.seconds for mean, step in zip(found, series._steps, strict=True))


@given(LOOKS)
def test_all_that_ended_is_in_one_of_a_bounded_number_of_steps(looks: Any) -> None:
    series = series_of(looks)
    found = series.summary()
    assert {len(getattr(found, name)) for name in Progressed._fields} == {len(series._steps)}
    assert len(series._steps) <= MAX_STEPS
    for name in Progressed._fields:
        assert sum(getattr(found, name)) == pytest.approx(
            sum(getattr(ended, name) for _, ended, _, _ in looks), abs=1e-6
        )


@given(LOOKS)
def test_the_calls_in_flight_and_those_that_wait_are_means_over_the_time(looks: Any) -> None:
    series = series_of(looks)
    assert sum(step.seconds for step in series._steps) == pytest.approx(
        sum(seconds for seconds, *_ in looks), abs=1e-3
    )
    for name, at in (("in_flight", 2), ("waiting", 3)):
        expected = sum(look[0] * look[at] for look in looks)
        assert call_seconds(series, name) == pytest.approx(expected, rel=1e-3, abs=0.1)
        assert max(getattr(series.summary(), name), default=0) <= max(
            (k[at] for k in looks), default=0
        )


@given(st.floats(0.001, 1e7))
def test_steps_are_as_long_as_they_have_to_be_and_no_longer(seconds: float) -> None:
    series = Series()
    series.add(seconds, seconds, Progressed(rows=1), 1, 0)
    assert MAX_STEPS / 2 * series.step_s <= max(seconds, MAX_STEPS / 2 * FIRST_STEP_S) * 1.01
    assert seconds <= MAX_STEPS * series.step_s * 1.01


def test_what_ends_is_in_the_step_in_which_it_was_looked_for() -> None:
    series = Series()
    for number in range(1, 11):
        series.add(number * 0.1, 0.1, Progressed(rows=number), 1, 0)
    assert series.summary().rows == list(range(1, 11))


def test_a_look_in_the_same_moment_as_the_last_one_counts_what_has_ended() -> None:
    series = Series()
    series.add(0.05, 0.05, Progressed(rows=1), 4, 0)
    series.add(0.05, 0.0, Progressed(rows=2), 0, 0)
    assert (series.summary().rows, series.summary().in_flight) == ([3], [4])


def test_a_long_look_is_spread_over_its_steps() -> None:
    series = Series()
    series.add(0.4, 0.4, Progressed(rows=8), 5, 2)
    found = series.summary()
    assert (found.step_s, found.in_flight, found.waiting) == (0.1, [5] * 4, [2] * 4)
    assert sum(found.rows) == 8


@given(LOOKS, LOOKS)
def test_series_of_shards_that_ran_together_add_up_and_stay_as_they_are(
    mine: Any, theirs: Any
) -> None:
    one, other = series_of(mine), series_of(theirs)
    before, steps = other.summary(), max(one.step_s, other.step_s)
    sums = [sum(getattr(s.summary(), n)) for s in (one, other) for n in Progressed._fields]
    one.merge(other)
    assert other.summary() == before
    assert one.step_s == steps
    assert len(one._steps) <= MAX_STEPS
    half = len(Progressed._fields)
    for name, a, b in zip(Progressed._fields, sums[:half], sums[half:], strict=True):
        assert sum(getattr(one.summary(), name)) == pytest.approx(a + b, abs=1e-6)


@given(st.integers(1, 400), st.integers(1, 400))
def test_calls_of_shards_are_in_flight_at_the_same_time_however_long_each_ran(
    looks: int, more: int
) -> None:
    """Steps may differ in length: 64 and 16 in flight are 80 as long as both ran."""
    one = series_of([(0.1, Progressed(), 64, 2)] * looks)
    other = series_of([(0.1, Progressed(), 16, 1)] * more)
    one.merge(other)
    found = one.summary()
    both = int(min(looks, more) * 0.1 / one.step_s)
    assert found.in_flight[:both] == pytest.approx([80] * both)
    assert found.waiting[:both] == pytest.approx([3] * both)
    longest = 64 if looks > more else 16
    assert min(found.in_flight) >= min(longest, 80) * 0.99


def test_merging_nothing_changes_nothing() -> None:
    one = series_of([(0.3, Progressed(rows=3), 5, 0)])
    before = one.summary()
    one.merge(Series())
    assert one.summary() == before
    empty = Series()
    empty.merge(one)
    assert empty.summary() == before
