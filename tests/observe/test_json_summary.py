"""One line of JSON, the same fields whatever has happened."""

import orjson
from msgspec.structs import replace

from llmscale.accounting.run_numbers import AlertRecord
from llmscale.accounting.stats import Stats
from llmscale.observe.json_summary import summary_line
from tests.observe.alerts import add_rows
from tests.observe.junit import report_of


def line_of(exit_code: int, error: str | None = None) -> str:
    stats = Stats()
    add_rows(stats, 3, 1)
    report = report_of(stats, 6, kept=1)
    alerts = [tripped("errors>5%", fails=False), tripped("errors>1%", fails=True)]
    return summary_line(exit_code, replace(report, alerts=alerts), error)


def tripped(rule: str, *, fails: bool) -> AlertRecord:
    return AlertRecord(
        rule=rule, decides=fails, fails=fails, value=None, tripped_at_s=None, value_at_end=None
    )


def test_it_has_the_numbers_of_the_report() -> None:
    found = orjson.loads(line_of(1))
    assert found.pop("p50_s") == found.pop("p99_s")
    assert found == {
        "exit_code": 1,
        "error": None,
        "output": "out.jsonl",
        "wall_s": 2.0,
        "rows_total": 6,
        "rows_kept": 1,
        "rows_answered": 3,
        "rows_failed": 1,
        "rows_pending": 1,
        "failures": {"timeout": 1},
        "rows_per_s": 2.0,
        "input_tokens": 30,
        "output_tokens": 6,
        "cost_usd": 0.75,
        "hit_rate": None,
        "alerts": ["errors>5%", "errors>1%"],
        "failed_on": ["errors>1%"],
    }


def test_without_a_run_the_same_fields_are_null() -> None:
    error = "there is no input nowhere.jsonl"
    found = orjson.loads(summary_line(2, None, error))
    assert list(found) == list(orjson.loads(line_of(1)))
    known = {name: value for name, value in found.items() if value is not None}
    assert known == {"exit_code": 2, "error": error, "alerts": [], "failed_on": []}


def test_it_is_one_line_that_steers_no_terminal() -> None:
    line = line_of(3, "HTTP 401:\n\x1b[2J\x9b \u2028 no")
    assert len(line.splitlines()) == 1
    assert not {"\x1b", "\x9b", "\u2028"} & set(line)
    assert "no" in orjson.loads(line)["error"]
