"""Figures with bounds: sums, and what is unknown in them."""

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval, together


def test_figures_add_with_their_bounds() -> None:
    assert together([Interval(2, 1, 3), Interval(20, 10, 30)]) == Interval(22, 11, 33)


def test_a_sum_lacks_what_one_of_its_parts_lacks() -> None:
    assert together([Interval(2, 1, None), Interval(None, 10, 30)]) == Interval(None, 11, None)
    assert together([Interval(2, 1, 3), UNKNOWN]) == UNKNOWN


def test_the_sum_of_nothing_is_nothing() -> None:
    assert together([]) == NOTHING
