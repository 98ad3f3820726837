"""A search that finds something is a line with something bad in it."""

from hypothesis import strategies as st

from tests.reliability.searching import searched


def is_small(number: int) -> None:
    assert number < 1_000


def test_a_counterexample_is_bad() -> None:
    found = searched("K02", "small", 200, is_small, st.integers())
    assert (found.bad, found.met) == (1, False)


def test_without_one_the_examples_are_counted() -> None:
    found = searched("K02", "small", 50, is_small, st.integers(0, 999))
    assert (found.n, found.bad, found.met) == (50, 0, True)
