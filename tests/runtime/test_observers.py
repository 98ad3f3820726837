"""Observers see what they are asked to see, refuse what can't be used, and better no exit code."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmscale.accounting.budget import CallBounds, CostBudget
from llmscale.accounting.stats import Stats
from llmscale.core.errors import ProviderRefused
from llmscale.job.manifest import InputFile, Manifest
from llmscale.job.stdout import StdoutSink
from llmscale.runtime.observers import Observers
from tests.observe.alerts import add_rows
from tests.observe.junit import report_of
from tests.observe.junit.test_xml import cases_of
from tests.settings import config_of

FAILS = "errors>1%"


def observers(folder: Path, **settings: Any) -> Observers:
    return Observers(config_of(**settings).observe, folder / "out.jsonl")


def failing() -> Stats:
    stats = Stats()
    add_rows(stats, 1, 1)
    return stats


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 1), (3, 3), (4, 4), (130, 130)])
@pytest.mark.parametrize("has_run", [True, False])
def test_a_rule_that_has_tripped_makes_1_of_0_and_nothing_of_what_is_worse(
    before: int, after: int, has_run: bool, tmp_path: Path
) -> None:
    watching = observers(tmp_path, fail_on=FAILS)
    stats = failing()
    if has_run:
        watching.watching(stats, 2, 0, {}, None)
    assert watching.judge(before, stats, 1.0) == after
    assert [alert.rule for alert in watching.alerts()] == [FAILS]


@pytest.mark.parametrize(
    ("rule", "decides"), [("errors>5%", True), ("p95>1s", False), (None, False)]
)
def test_only_a_rule_about_errors_judges_failed_rows(
    rule: str | None, decides: bool, tmp_path: Path
) -> None:
    assert observers(tmp_path, fail_on=rule).judge_failures is decides


def test_without_rules_the_exit_code_is_as_it_was(tmp_path: Path) -> None:
    watching = observers(tmp_path, alert_on="")
    assert watching.judge(0, failing(), 1.0) == 0
    assert watching.alerts() == []


def test_what_is_used_of_a_budget_is_what_is_spent_or_may_be(tmp_path: Path) -> None:
    budget = CostBudget(
        10.0, CallBounds(lambda _: (), lambda _: None), spent_usd=6.0, unconfirmed_usd=2.0
    )
    watching = observers(tmp_path, fail_on="spend>=80%,spend>80%")
    watching.watching(Stats(), 2, 0, {}, budget)
    assert watching.judge(0, Stats(), 1.0) == 1
    assert [a.rule for a in watching.alerts() if a.fails] == ["spend>=80%"]


def test_only_a_junit_file_needs_to_see_the_outcomes(tmp_path: Path) -> None:
    sink = StdoutSink("llmscale")
    assert observers(tmp_path, metrics=str(tmp_path / "m")).through(sink) is sink
    assert observers(tmp_path, junit=str(tmp_path / "j")).through(sink) is not sink


def test_only_who_is_asked_for_watches(tmp_path: Path) -> None:
    nothing = observers(tmp_path)
    assert len(nothing.watching(Stats(), 2, 0, {}, None)) == 1, "the alerts"
    metrics = observers(tmp_path, metrics=str(tmp_path / "m.prom"))
    assert len(metrics.watching(Stats(), 2, 0, {}, None)) == 2


def test_the_end_is_reported_in_every_way(tmp_path: Path) -> None:
    junit, metrics = tmp_path / "j.xml", tmp_path / "m.prom"
    watching = observers(tmp_path, junit=str(junit), metrics=str(metrics), fail_on=FAILS)
    stats = failing()
    watching.watching(stats, 5, 0, {}, None)
    watching.judge(3, stats, 1.0)
    report = report_of(stats, 5, exit_code=3)
    watching.finish(report, ProviderRefused("the key is refused"))
    assert 'llmscale_exit_code{run="m"} 3' in metrics.read_text()
    assert set(cases_of(junit.read_bytes())) == {
        "all rows are answered",
        "timeout",
        f"--fail-on {FAILS}",
        "the run comes to its end",
    }


def test_a_file_that_can_no_longer_be_written_does_not_hurt_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    files: dict[str, Any] = {"junit": str(folder / "j.xml"), "metrics": str(folder / "m.prom")}
    watching = observers(tmp_path, **files)
    folder.rmdir()
    watching.finish(report_of(failing(), 2))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_job_that_was_finished_before_is_reported_and_not_judged(tmp_path: Path) -> None:
    junit = tmp_path / "j.xml"
    watching = observers(tmp_path, junit=str(junit), fail_on="rows_per_s<1")
    files = [InputFile("in.jsonl", "0")]
    result = watching.finish_unchanged(
        Manifest(inputs=files, settings={}, output_format="llmscale", rows=7, answered=7)
    )
    assert result.report is not None
    assert (result.report.rows.total, result.report.rows.kept) == (7, 7)
    assert cases_of(junit.read_bytes()) == {"all rows are answered": None}


async def test_what_watches_can_be_cancelled(tmp_path: Path) -> None:
    watching = observers(tmp_path, metrics=str(tmp_path / "m.prom"))
    beside = watching.watching(failing(), 2, 0, {}, None)
    tasks = [asyncio.create_task(watch()) for watch in beside]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
