"""Forecast with bounds: sums, and what is unknown in them."""

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval, sum_intervals


def test_intervals_add_with_their_bounds() -> None:
    assert sum_intervals([Interval(2, 1, 3), Interval(20, 10, 30)]) == Interval(22, 11, 33)


def test_a_value_that_one_interval_lacks_is_unknown_in_the_sum() -> None:
    assert sum_intervals([Interval(2, 1, None), Interval(None, 10, 30)]) == Interval(None, 11, None)
    assert sum_intervals([Interval(2, 1, 3), UNKNOWN]) == UNKNOWN


def test_the_sum_of_nothing_is_nothing() -> None:
    assert sum_intervals([]) == NOTHING


def test_rounding_keeps_unknown_values_and_makes_whole_numbers_by_default() -> None:
    assert Interval(2.345, None, 3.6).rounded(1) == Interval(2.3, None, 3.6)
    assert str(Interval(2.345, None, 3.6).rounded().high) == "4"
