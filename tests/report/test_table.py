"""The table at the end of a run: what it shows, and that any name can stand in it."""

import io
import sys
from typing import Any

import pytest

from llmscale.accounting.stats import Stats
from llmscale.cli.tables.run import print_table
from llmscale.report.remarks import summary_line
from tests.report import add_bad_row, add_row, add_row_for_nothing, built, mixed_stats, typed


@pytest.fixture
def mixed() -> Stats:
    return mixed_stats()


def test_the_summary_is_one_line_of_what_counts(mixed: Stats) -> None:
    line = summary_line(typed(built(mixed, 12, wall_s=2.5, kept=4)))
    assert line == (
        "7 of 12 rows answered, 2 failed, 1 cut at max_tokens, 90 tokens, at least $1.0000, 2.5 s"
    )


@pytest.mark.parametrize(
    ("costs", "dollars"),
    [
        ([], "$0"),
        ([0.0], "$0"),
        ([0.00004, 0.00004], "$0.0001"),
        ([1.5], "$1.5000"),
        ([1.5, None], "at least $1.5000"),
        ([None], "cost unknown"),
    ],
)
def test_an_unknown_price_is_never_zero_dollars(costs: list[float | None], dollars: str) -> None:
    stats = Stats()
    for cost_usd in costs:
        add_row(stats, "sim/a", cost_usd=cost_usd)
    assert summary_line(typed(built(stats, len(costs)))).split(", ")[-2] == dollars


def table(stats: Stats, total: int, monkeypatch: pytest.MonkeyPatch, **facts: Any) -> list[str]:
    """Return the lines of the table as a wide terminal shows them."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "200")
    print_table(typed(built(stats, total, **facts)))
    return stream.getvalue().splitlines()


def test_a_table_of_one_model_has_its_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    add_row(stats, "sim/a", "timeout")
    _, head, *rows = table(stats, 1, monkeypatch)
    assert " ".join(head.split()) == "model answered failed retries rows/s p50 s p99 s tokens cost"
    (row,) = rows
    name, answered, failed, retries, rate, *_, tokens, cost = row.split()
    assert (name, answered, failed, retries, rate) == ("sim/a", "1", "0", "1", "0.5")
    assert (tokens, cost) == ("30", "$0.5000")


def test_a_table_of_no_model_has_the_sum_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    add_bad_row(stats)
    shown = table(stats, 1, monkeypatch)
    assert shown[2].split()[:3] == ["all", "0", "1"]
    assert shown[3:] == ["1 row failed: bad_row (row 0)"]


def test_a_table_of_two_models_has_their_sum(mixed: Stats, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [line.split()[:4] for line in table(mixed, 5, monkeypatch)[2:5]]
    assert rows == [["sim/a", "2", "1", "2"], ["sim/b", "1", "0", "0"], ["all", "3", "2", "2"]]


@pytest.mark.parametrize(
    "model",
    ["sim/[/b]", "sim/[bold red]x", "sim/[link=http://x]y[/link]", "sim/:smile:", "sim/\\["],
)
def test_a_name_is_never_markup(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    add_row(stats, model)
    assert any(model in line for line in table(stats, 1, monkeypatch))


def test_a_name_can_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    add_row(stats, "sim/\x1b]52;c;x\x07\x9b2J\u202e")
    shown = "\n".join(table(stats, 1, monkeypatch))
    assert "sim/\ufffd]52;c;x\ufffd\ufffd2J\ufffd" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)


def test_below_the_table_stands_what_it_does_not_say(
    mixed: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_row_for_nothing(mixed, "sim/a", cached=True)
    add_row_for_nothing(mixed, "sim/a", cached=False)
    shown = table(mixed, 14, monkeypatch, kept=4, max_repeated_calls=2)
    assert shown[5:] == [
        "4 rows answered by earlier runs",
        "1 row from the cache, 1 by the call of another row: 60 tokens and $1.0000 saved",
        "1 answer cut at max_tokens (finish_reason length)",
        "1 row failed: timeout (row 0)",
        "1 row failed: bad_row (row 0)",
        "3 rows pending; the same command resumes",
        "2 rows in flight when a run was killed: may be paid twice",
    ]


def test_last_below_the_table_stands_what_held_the_run_back_and_what_to_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stats = Stats()
    add_row(stats, "sim/a")
    assert table(stats, 1, monkeypatch, held_s={"concurrency": 1.5, "start": 0.5})[-1] == (
        "75 % of the time all slots were in use, and the endpoint could have answered more "
        "(--concurrency 128: 64 were in flight at most)"
    )
    assert len(table(stats, 1, monkeypatch, held_s={"start": 1.5})) == 3, "nothing held it back"
