"""Numbers in a person's words."""

import pytest
from msgspec.structs import replace

from llmscale.accounting.forecast.interval import Interval
from llmscale.accounting.stats import Calls
from llmscale.report.figures import (
    between,
    cost_of,
    dollars,
    duration,
    hours,
    seconds,
    share,
    span,
    usd,
)


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.04, "0.0 s"), (12.34, "12.3 s"), (245, "4 min 5 s"), (12_000, "3 h 20 min")],
)
def test_a_duration_has_the_units_that_a_person_would_use(value_s: float, text: str) -> None:
    assert duration(value_s) == text


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0, "0"), (0.25, "250 ms"), (3.21, "3.21 s"), (720, "12 min"), (19_800, "5.5 h")],
)
def test_a_span_fits_below_an_axis(value_s: float, text: str) -> None:
    assert span(value_s) == text


def test_what_was_not_counted_is_a_dash_and_not_zero() -> None:
    assert (seconds(None), share(None)) == ("-", "-")
    assert (seconds(0.0), share(0.0)) == ("0.000", "0.0 %")
    assert (seconds(12.345), share(0.126)) == ("12.3", "12.6 %")


def test_an_unknown_price_is_never_zero_dollars() -> None:
    assert usd(None) == "unknown"
    calls = Calls().summary()
    assert cost_of(replace(calls, cost_usd=None, unpriced=1)) == "cost unknown"
    assert cost_of(replace(calls, cost_usd=1.5, unpriced=1)) == "at least $1.5000"
    assert cost_of(calls) == "$0"


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
