"""An estimate on a terminal: values with their bounds, and sentences that say what to do."""

from typing import Any

import pytest

from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.cli.tables.estimate import print_estimate
from llmscale.commands.estimate.result import (
    CapCoverage,
    EstimateResult,
    ProjectionResult,
    RowCounts,
    SampleResult,
    Saving,
    Savings,
    TimedBinding,
)

NO_SAVING = Saving(0, None, None)


def projection(**fields: Any) -> ProjectionResult:
    usual: dict[str, Any] = {
        "scale": 1.0,
        "rows": 200,
        "asked": Interval(180, 180, 180),
        "input_tokens": Interval(1_000, 900, 1_100),
        "output_tokens": Interval(2_000, 1_500, 2_500),
        "usd": Interval(3.0, 2.0, 4.5),
        "hours": Interval(0.5, 0.25, 1.0),
        "binds": TimedBinding("endpoint", "openai/m", "rpm", 0.5),
        "bounds": [],
    }
    return ProjectionResult(**(usual | fields))


def sample(**fields: Any) -> SampleResult:
    usual: dict[str, Any] = {
        "rows": 50,
        "kept": 48,
        "truncated": 0,
        "failed": 2,
        "failed_share": UNKNOWN,
        "failures": {},
        "latency_s": {},
        "attempts": 53,
        "cost_usd": 0.5,
    }
    return SampleResult(**(usual | fields))


def shown(capsys: pytest.CaptureFixture[str], **fields: Any) -> str:
    usual: dict[str, Any] = {
        "inputs": [],
        "output": "-",
        "method": "counts",
        "rows": RowCounts(200, 0, 0, 0, 0),
        "now": projection(),
        "scaled": projection(scale=10.0, rows=2_000),
        "saved": Savings(NO_SAVING, NO_SAVING),
        "max_cost": None,
        "models": {},
        "unpriced": [],
        "unanswered": [],
        "unbounded": None,
        "sample": None,
    }
    print_estimate(EstimateResult(**(usual | fields)))
    return capsys.readouterr().out


def test_the_table_has_this_run_and_the_scaled_one(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    assert "this run" in text
    assert "10x the rows" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["rows", "200", "2,000"] in lines
    assert any(line[:2] == ["dollars", "$3.00"] for line in lines)


def test_rows_that_cost_nothing_are_in_the_heading(capsys: pytest.CaptureFixture[str]) -> None:
    heading = shown(capsys, rows=RowCounts(200, 1, 2, 3, 4)).splitlines()[0]
    assert heading == ("200 rows; 1 invalid; 2 already answered; 3 cached; 4 repeat an earlier row")


def test_what_limits_the_run_is_named_once_if_it_is_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "limited by requests/min of openai/m, now and at 10x" in shown(capsys)
    other = projection(scale=10.0, binds=TimedBinding("user", "anna", "tpm", 1.0))
    text = shown(capsys, scaled=other)
    assert "by requests/min of openai/m; at 10x limited by tokens/min of user anna" in text


def test_counts_alone_say_what_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, unbounded="its answer has no bound; set max_tokens")
    assert "nothing was sent" in text
    assert "--sample 50" in text
    assert "set max_tokens" in text


def test_a_sample_says_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, method="sample", sample=sample())
    assert "from a sample of 50 rows (2 failed): 53 calls ($0.5), 48 answers cached" in text
    assert "cost unknown" in shown(capsys, method="sample", sample=sample(cost_usd=None))


def test_savings_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, saved=Savings(Saving(20, 4_000, 0.25), Saving(7, 10, 0.125)))
    assert "the cache saves 20 calls, 4,000 tokens, $0.25" in text
    assert "7 rows share the call of another row, about $0.125" in text


def test_an_unknown_price_says_how_to_set_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, unpriced=["openai/x"])
    assert "no price for openai/x" in text
    assert "[[price]]" in text
    assert "llmscale help cost" in text


def test_a_sample_without_tokens_says_why_the_cost_is_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, method="sample", sample=sample(), now=projection(usd=UNKNOWN))
    assert "report no tokens" in text


def test_a_model_that_answered_nothing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, unanswered=["openai/x"])
    assert "no row of the sample was answered by openai/x" in text


@pytest.mark.parametrize(
    ("covers", "says"), [(True, ""), (False, "does not cover"), (None, "may not cover")]
)
def test_a_cap_that_may_not_be_enough_is_named(
    covers: bool | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, max_cost=CapCoverage(5.0, 4.0, covers))
    assert ("--max-cost ($4.00)" in text) == bool(says)
    assert says in text


def test_names_steer_no_terminal_and_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, unpriced=["openai/[/b]\x1b[31m"])
    assert "[/b]\ufffd[31m" in text
    assert "\x1b" not in text
