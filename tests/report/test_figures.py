"""Numbers in a person's words."""

import pytest

from llmscale.report.figures import dollars, duration, seconds, share, span, usd


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
    assert dollars({"cost_usd": None, "unpriced": 1}) == "cost unknown"
    assert dollars({"cost_usd": 1.5, "unpriced": 1}) == "at least $1.5000"
    assert dollars({"cost_usd": 0.0, "unpriced": 0}) == "$0"
