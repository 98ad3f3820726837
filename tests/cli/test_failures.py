"""Failed rows: how many end a run, how many are accepted, and where each one is seen."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.tool import lines_in, llmscale, prompts, read_rows, report_of, write_rows
from tests.servers.chat import chat_process

HALF = ("-m", "sim/error_rate=0.5,seed=3", "--max-attempts", 1)


def run(folder: Path, *flags: object) -> tuple[int, str]:
    """Run a job; return its exit code and what it printed."""
    ended = llmscale("run", "in.jsonl", "-o", "out.jsonl", *flags, cwd=folder)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ("3", "rows failed (3 server_error), and --max-failures is 3"),
        ("10%", "of 20 rows failed (10 server_error), and --max-failures is 10%"),
    ],
)
def test_too_many_failures_end_the_run_with_rows_pending_and_the_same_command_resumes(
    bound: str, said: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(200))
    exit_code, stderr = run(tmp_path, *HALF, "--concurrency", 1, "--max-failures", bound)
    assert exit_code == 3
    assert f"{said}; the remaining rows are pending" in stderr
    assert "to resume: llmscale run in.jsonl" in stderr
    assert "-> out.jsonl.partial" in stderr
    assert not (tmp_path / "out.jsonl").exists()
    done = lines_in(tmp_path / "out.jsonl.partial")
    rows = report_of(tmp_path / "out.jsonl")["rows"]
    assert f"({rows['failed']} server_error)" in said
    assert rows["pending"] == 200 - done
    with chat_process() as url:
        exit_code, stderr = run(tmp_path, "-m", "openai/m", "--base-url", url, "--overwrite")
    assert exit_code == 0
    assert "-> out.jsonl\n" in stderr


def test_fewer_failures_than_that_end_nothing(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(40))
    exit_code, _ = run(tmp_path, *HALF, "--max-failures", "90%")
    assert exit_code == 1
    assert lines_in(tmp_path / "out.jsonl") == 40


@pytest.mark.parametrize(
    ("rule", "exit_code"), [("errors>90%", 0), ("errors>1%", 1), ("errors>39", 0), ("p95>1h", 1)]
)
def test_a_rule_about_errors_decides_whether_failed_rows_are_a_failure(
    rule: str, exit_code: int, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(40))
    assert run(tmp_path, *HALF, "--fail-on", rule)[0] == exit_code
    assert 0 < report_of(tmp_path / "out.jsonl")["rows"]["failed"] < 40


def test_a_resumed_job_is_judged_by_all_its_rows(tmp_path: Path) -> None:
    """Only the failed rows are retried, and all of these fail again."""
    write_rows(tmp_path / "in.jsonl", [*prompts(30), {"nothing": 1}])
    job = ("-m", "sim/a", "--fail-on", "errors>5%")
    assert run(tmp_path, *job)[0] == 0
    exit_code, _ = run(tmp_path, *job)
    assert report_of(tmp_path / "out.jsonl")["rows"]["kept"] == 30
    assert exit_code == 0


def test_failed_rows_that_a_rule_accepts_are_skipped_cases_of_junit(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(40))
    run(tmp_path, *HALF, "--fail-on", "errors>90%", "--junit", "j.xml")
    (suite,) = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "2")


def test_each_failed_row_is_a_debug_line_with_its_number_and_its_id(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", [{"id": "a", "prompt": "x"}, {"id": "b", "nothing": 1}])
    _, stderr = run(tmp_path, "-m", "sim/a", "--verbose")
    (failed,) = (row for row in read_rows(tmp_path / "out.jsonl") if row["error"])
    assert f"debug: row 1 (id b) failed: bad_row: {failed['error']['message']}" in stderr
    assert "row 0" not in stderr
