"""`llmscale report`: on a terminal, as JSON and as a page, beside an earlier run."""

from pathlib import Path

import orjson
import pytest

from llmscale.accounting.run_numbers import SCHEMA_VERSION
from tests.cli.tool import llmscale, prompts, write_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs, a.results.jsonl and b.jsonl."""
    folder = tmp_path_factory.mktemp("runs")
    write_rows(folder / "a.jsonl", prompts(20))
    for arguments in (["--model", "sim/latency=0.01"], ["--model", "sim/x", "-o", "b.jsonl"]):
        assert llmscale("run", "a.jsonl", *arguments, cwd=folder).returncode == 0
    return folder


def test_it_is_shown_by_the_name_of_the_output_and_of_the_report(folder: Path) -> None:
    for name in ("a.results.jsonl", "a.report.json"):
        shown = llmscale("report", name, cwd=folder)
        assert shown.returncode == 0
        assert "20 of 20 rows answered" in shown.stdout
        assert "What held the run back" in shown.stdout
        assert shown.stderr == ""


def test_as_json_it_is_the_report_itself(folder: Path) -> None:
    shown = llmscale("report", "b.jsonl", "--json", cwd=folder)
    assert orjson.loads(shown.stdout) == orjson.loads((folder / "b.report.json").read_bytes())


def test_a_baseline_adds_ratios(folder: Path) -> None:
    shown = llmscale("report", "b.jsonl", "--baseline", "a.results.jsonl", cwd=folder)
    assert "Beside the baseline" in shown.stdout
    told = llmscale("report", "b.jsonl", "--baseline", "a.report.json", "--json", cwd=folder)
    compared = {c["name"]: c for c in orjson.loads(told.stdout)["compared"]}
    assert compared["rows"]["ratio"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (["a.results.jsonl", "--html"], "a.report.html"),
        (["--html", "mine.html", "b.jsonl"], "mine.html"),
        (["a.report.json", "--html", "--baseline", "b.jsonl"], "a.report.html"),
        (["b.jsonl", "--html", "--json"], "b.report.html"),
    ],
)
def test_the_page_lies_beside_the_report_unless_a_file_is_named(
    arguments: list[str], page: str, folder: Path
) -> None:
    (folder / page).unlink(missing_ok=True)
    shown = llmscale("report", *arguments, cwd=folder)
    assert shown.returncode == 0
    assert shown.stderr == f"wrote {page}\n"
    assert (folder / page).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (folder / page).stat().st_mode & 0o777 == 0o600
    assert shown.stdout.startswith("{") if "--json" in arguments else shown.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["none.jsonl"], "there is no report none.report.json"),
        (["a.jsonl", "--baseline", "none.jsonl"], "there is no report none.report.json"),
        (["b.jsonl", "--html", "a.report.json"], "--html a.report.json would replace"),
        (["b.jsonl", "--html", "a.results.jsonl"], "--html a.results.jsonl would replace"),
    ],
)
def test_invalid_use_is_one_sentence_and_exit_code_2(
    arguments: list[str], complaint: str, folder: Path
) -> None:
    shown = llmscale("report", *arguments, cwd=folder)
    assert shown.returncode == 2
    assert complaint in shown.stderr
    assert shown.stdout == ""
    assert orjson.loads((folder / "a.report.json").read_bytes())["schema"] == SCHEMA_VERSION


def test_a_page_that_can_not_be_written_ends_with_the_code_of_storage(folder: Path) -> None:
    shown = llmscale("report", "b.jsonl", "--html", "no/folder/page.html", cwd=folder)
    assert shown.returncode == 5
    assert "can't write no/folder/page.html" in shown.stderr
