"""Figures and what binds, in words."""

from typing import Any

import pytest

from llmscale.report.words import BINDING, between, dollars, hours, in_words


def span(estimate: float | None, low: float | None = None, high: float | None = None) -> Any:
    return {"estimate": estimate, "low": low, "high": high}


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (span(3.0, 2.0, 4.5), "$3.00 ($2.00 to $4.50)"),
        (span(3.0, 3.0, 3.0), "$3.00"),
        (span(3.0, 2.999, 3.001), "$3.00"),
        (span(None, 2.0, 4.0), "$2.00 to $4.00"),
        (span(None, 2.0), "at least $2.00"),
        (span(3.0, 2.0), "$3.00 (at least $2.00)"),
        (span(None), "unknown"),
        (span(0.0, 0.0, 0.0), "$0"),
    ],
)
def test_a_figure_is_shown_with_what_is_known_of_it(figure: Any, text: str) -> None:
    assert between(figure, dollars) == text


def test_amounts_have_the_digits_that_tell_something() -> None:
    assert [dollars(usd) for usd in (12_345.678, 0.01234567, 0)] == ["$12,345.68", "$0.01235", "$0"]
    assert [hours(h) for h in (30.04, 1.5, 0.01)] == ["30.0 h", "90.0 min", "36 s"]


def test_everything_that_can_bind_has_its_words() -> None:
    assert set(BINDING) == {"rpm", "tpm", "rpd", "tpd", "concurrency", "process"}
    assert in_words(None) == "nothing that is set binds"
    assert "this process" in in_words({"scope": "run", "name": "this process", "budget": "process"})
