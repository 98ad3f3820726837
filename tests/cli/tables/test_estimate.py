"""An estimate for a person: figures with their bounds, and sentences that say what to do."""

from typing import Any

import pytest

from llmscale.cli.tables.estimate import print_estimate


def span(estimate: float | None, low: float | None = None, high: float | None = None) -> Any:
    return {"estimate": estimate, "low": low, "high": high}


def part(**fields: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "scale": 1.0,
        "rows": 200,
        "asked": span(180, 180, 180),
        "input_tokens": span(1_000, 900, 1_100),
        "output_tokens": span(2_000, 1_500, 2_500),
        "usd": span(3.0, 2.0, 4.5),
        "hours": span(0.5, 0.25, 1.0),
        "binds": {"scope": "endpoint", "name": "openai/m", "budget": "rpm", "hours": 0.5},
        "bounds": [],
    }
    return usual | fields


def found(**fields: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "method": "counts",
        "rows": {"total": 200, "bad": 0, "answered": 0, "cached": 0, "repeated": 0},
        "now": part(),
        "scaled": part(scale=10.0, rows=2_000),
        "saved": {
            "cache": {"rows": 0, "tokens": 0, "usd": 0.0},
            "repeats": {"rows": 0, "tokens": None, "usd": None},
        },
        "max_cost": None,
        "unpriced": [],
        "unanswered": [],
        "unbounded": None,
        "sample": None,
    }
    return usual | fields


def shown(capsys: pytest.CaptureFixture[str], **fields: Any) -> str:
    print_estimate(found(**fields))
    return capsys.readouterr().out


def test_the_table_has_this_run_and_more_rows(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    assert "this run" in text
    assert "10x the rows" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["rows", "200", "2,000"] in lines
    assert any(line[:2] == ["dollars", "$3.00"] for line in lines)


def test_what_binds_is_said_once_where_it_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert "requests/min of openai/m binds, at 10x too" in shown(capsys)
    other = part(binds={"scope": "user", "name": "anna", "budget": "tpm"})
    text = shown(capsys, scaled={**other, "scale": 10.0})
    assert "requests/min of openai/m binds; at 10x tokens/min of user anna binds" in text


def test_counts_alone_say_what_they_do_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, unbounded="its answer has no bound; set max_tokens")
    assert "nothing was sent" in text
    assert "--sample 50" in text
    assert "set max_tokens" in text


def test_a_sample_says_what_it_has_cost(capsys: pytest.CaptureFixture[str]) -> None:
    sample = {"rows": 50, "failed": 2, "attempts": 53, "cost_usd": 0.5, "kept": 48}
    text = " ".join(shown(capsys, method="sample", sample=sample).split())
    assert "sample of 50 rows, 2 of which failed; it made 53 calls ($0.5)" in text
    assert "48 answers are in the cache" in text
    unknown = shown(capsys, method="sample", sample=sample | {"cost_usd": None})
    assert "cost unknown" in unknown


def test_savings_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    saved = {
        "cache": {"rows": 20, "tokens": 4_000, "usd": 0.25},
        "repeats": {"rows": 7, "tokens": 10, "usd": 0.125},
    }
    text = shown(capsys, saved=saved)
    assert "the cache saves 20 calls, 4,000 tokens, $0.25" in text
    assert "7 rows share the call of another, about $0.125" in text


def test_an_unknown_price_says_how_to_set_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, unpriced=["openai/x"])
    assert "the price of openai/x is not known" in text
    assert "[[price]]" in text


def test_dollars_that_are_not_known_for_want_of_tokens_say_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sample = {"rows": 5, "failed": 0, "attempts": 5, "cost_usd": None, "kept": 5}
    text = shown(capsys, method="sample", sample=sample, now=part(usd=span(None)))
    assert "report no tokens" in text


def test_a_model_that_answered_nothing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, unanswered=["openai/x"])
    assert "no row of the sample was answered by openai/x" in text


@pytest.mark.parametrize(
    ("covers", "says"), [(True, ""), (False, "does not cover"), (None, "may not cover")]
)
def test_a_cap_that_may_not_be_enough_is_told(
    covers: bool | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, max_cost={"usd": 5.0, "left_usd": 4.0, "covers": covers})
    assert ("--max-cost ($4.00)" in text) == bool(says)
    assert says in text


def test_names_steer_no_terminal_and_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, unpriced=["openai/[/b]\x1b[31m"])
    assert "[/b]\ufffd[31m" in text
    assert "\x1b" not in text
