"""Figures with their bounds, in words."""

import pytest

from llmscale.accounting.forecast.interval import Interval
from llmscale.report.words import between, dollars, hours


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Interval(3.0, 2.0, 4.5), "$3.00 ($2.00 to $4.50)"),
        (Interval(3.0, 3.0, 3.0), "$3.00"),
        (Interval(3.0, 2.999, 3.001), "$3.00"),
        (Interval(None, 2.0, 4.0), "$2.00 to $4.00"),
        (Interval(None, 2.0), "at least $2.00"),
        (Interval(3.0, 2.0), "$3.00 (at least $2.00)"),
        (Interval(), "unknown"),
        (Interval(0.0, 0.0, 0.0), "$0"),
    ],
)
def test_a_figure_is_shown_with_what_is_known_of_it(figure: Interval, text: str) -> None:
    assert between(figure, dollars) == text


def test_amounts_have_the_digits_that_tell_something() -> None:
    assert [dollars(usd) for usd in (12_345.678, 0.01234567, 0)] == ["$12,345.68", "$0.01235", "$0"]
    assert [hours(h) for h in (30.04, 1.5, 0.01)] == ["30.0 h", "90.0 min", "36 s"]
