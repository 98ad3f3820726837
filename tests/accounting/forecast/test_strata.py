"""Strata and draws: by model and size, in proportion, and the same rows each time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.forecast.strata import (
    MAX_STRATA,
    MIN_DRAWN,
    Ints,
    Strata,
    allocate,
    collapse,
    draw,
)


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def test_a_model_is_split_at_the_quantiles_of_its_sizes() -> None:
    sizes = np.arange(100)
    strata = Strata(np.zeros(100, np.int64), sizes, ints(40))
    numbers = strata.of(np.zeros(100, np.int64), sizes)
    assert strata.count == 4
    assert np.bincount(numbers).tolist() == [25, 25, 25, 25]
    assert (np.diff(numbers) >= 0).all(), "smallest rows first"


def test_a_model_with_few_sampled_rows_is_one_stratum() -> None:
    models, sizes = ints(*[0] * 90, *[1] * 10), np.arange(100)
    strata = Strata(models, sizes, ints(45, 5))
    assert [list(strata.of_model(model)) for model in (0, 1)] == [[0, 1, 2, 3], [4]]
    assert set(strata.of(models, sizes)[90:]) == {4}


def test_a_model_has_at_most_max_strata() -> None:
    sizes = np.arange(5_000)
    assert Strata(np.zeros(5_000, np.int64), sizes, ints(5_000)).count == MAX_STRATA


def test_rows_of_one_size_are_in_one_stratum() -> None:
    models, sizes = np.zeros(100, np.int64), np.full(100, 7)
    strata = Strata(models, sizes, ints(50))
    assert np.count_nonzero(np.bincount(strata.of(models, sizes))) == 1


def test_a_model_without_rows_has_an_empty_stratum() -> None:
    strata = Strata(ints(1, 1), ints(3, 4), ints(0, 2))
    assert strata.count == 2
    assert strata.of(ints(1, 1), ints(3, 4)).tolist() == [1, 1]


def test_rows_are_allocated_in_proportion_by_largest_remainders() -> None:
    assert allocate(ints(600, 300, 100), 20).tolist() == [12, 6, 2]
    assert allocate(ints(500, 250, 250), 10).tolist() == [5, 3, 2]


def test_each_group_gets_enough_rows_for_a_variance() -> None:
    assert allocate(ints(9_000, 10, 1), 20).tolist() == [20, MIN_DRAWN, 1]


def test_nothing_is_allocated_to_empty_groups() -> None:
    assert allocate(ints(0, 0), 20).tolist() == [0, 0]
    assert allocate(ints(), 20).tolist() == []


@given(st.lists(st.integers(0, 500), max_size=8), st.integers(1, 200))
def test_an_allocation_has_the_size_of_the_sample_and_no_more_rows_than_exist(
    counts: list[int], size: int
) -> None:
    found = allocate(ints(*counts), size)
    assert (found <= ints(*counts)).all()
    assert found.sum() >= min(size, sum(counts)) or not counts
    assert found.sum() <= size + MIN_DRAWN * len(counts)


def test_so_many_rows_of_each_stratum_are_drawn_and_none_twice() -> None:
    strata = ints(*[0] * 50, *[1] * 30, *[2] * 20)
    indexes = np.arange(100) * 2  # every other row of the input
    found = draw(strata, indexes, ints(5, 3, 0), 200)
    assert len(set(found.tolist())) == 8
    assert found.tolist() == sorted(found.tolist())
    of_first = [i for i in found if i < 100]
    assert len(of_first) == 5
    assert all(100 <= i < 160 for i in set(found.tolist()) - set(of_first))


def test_the_same_rows_are_drawn_each_time_and_a_larger_sample_contains_the_smaller() -> None:
    strata, indexes = np.zeros(1_000, np.int64), np.arange(1_000)
    few = draw(strata, indexes, ints(20), 1_000).tolist()
    assert few == draw(strata, indexes, ints(20), 1_000).tolist()
    assert set(few) < set(draw(strata, indexes, ints(50), 1_000).tolist())


def test_without_some_rows_the_same_others_are_drawn() -> None:
    strata, indexes = np.zeros(1_000, np.int64), np.arange(1_000)
    before = draw(strata, indexes, ints(20), 1_000).tolist()
    left = np.setdiff1d(indexes, before[:5])
    after = draw(strata[: len(left)], left, ints(20), 1_000).tolist()
    assert set(before[5:]) <= set(after)


def test_every_row_is_as_likely_as_any_other() -> None:
    strata, indexes = np.zeros(200, np.int64), np.arange(200)
    counts = np.zeros(200)
    for shift in range(500):  # other rows of a longer input stand for other draws
        counts[draw(strata, indexes + 200 * shift, ints(20), 200 * 500) - 200 * shift] += 1
    assert counts.mean() == 50
    assert counts.std() == pytest.approx(np.sqrt(500 * 0.1 * 0.9), rel=0.3)


def test_a_stratum_without_observations_is_collapsed_into_a_neighbour() -> None:
    groups = [range(3), range(3, 5)]
    assert collapse(ints(0, 2, 0, 0, 0), groups).tolist() == [1, 1, 1, 3, 4]
    assert collapse(ints(1, 0, 1, 1, 1), groups).tolist() == [0, 2, 2, 3, 4]
