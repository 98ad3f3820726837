"""`llmscale plan` as a user has it: a table or JSON, and an exit code that a script can go by."""

import shlex
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.tool import Run, llmscale, prompts, write_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.jsonl", prompts(400))
    return tmp_path


def tool(folder: Path, *args: object) -> Run:
    env = {"COLUMNS": "200", "XDG_CACHE_HOME": str(folder / "cache"), "LLMSCALE_CACHE_MODE": "on"}
    return llmscale(*args, cwd=folder, **env)


def plan(folder: Path, *args: object) -> Run:
    return tool(folder, "plan", "in.jsonl", "--model", "sim/a", *args)


def checks(folder: Path, code: int) -> list[dict[str, Any]]:
    """Return the lines of a plan that ends with this code."""
    found = plan(folder, "--json")
    assert found.returncode == code, found.stderr
    lines: list[dict[str, Any]] = orjson.loads(found.stdout)["lines"]
    return lines


def test_its_commands_bring_a_job_to_where_it_is_ready(folder: Path) -> None:
    required = [line for line in checks(folder, 1) if line["required"]]
    todo = {line["command"] for line in required if line["answer"] != "yes"}
    assert len(todo) == 2, "a sample, and a first part of the rows"
    for command in sorted(todo):
        ended = tool(folder, *shlex.split(command)[1:])
        assert ended.returncode == 0, ended.stderr
    assert {line["answer"] for line in checks(folder, 0) if line["required"]} == {"yes"}


def test_it_is_a_table_on_standard_output(folder: Path) -> None:
    run = plan(folder, "--scale", 3, "--hours", 0.5)
    assert (run.returncode, run.stderr) == (1, "")
    text = " ".join(run.stdout.split())
    assert "Does 3x fit the limits and 0.5 h?" in text
    assert "not ready: baseline" in text


def test_commands_repeat_the_flags_that_were_given(folder: Path) -> None:
    run = plan(folder, "--json", "--concurrency", 7, "--system", "Be brief.", "--report", "r.json")
    lines = {line["name"]: line for line in orjson.loads(run.stdout)["lines"]}
    baseline = shlex.split(lines["baseline"]["command"])
    assert baseline[:3] == ["llmscale", "run", "in.jsonl"]
    assert {"7", "Be brief.", "r.json", "sim/a"} <= set(baseline)
    assert "--report" not in lines["load"]["command"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--hours", 0), "--hours must be above 0"),
        (("--hours", "nan"), "--hours must be above 0"),
        (("--scale", 0.1), "--scale must be from 1"),
        (("--rpm", "x"), "rpm"),
    ],
)
def test_invalid_use_is_one_sentence_and_exit_code_2(
    folder: Path, args: tuple[object, ...], says: str
) -> None:
    run = plan(folder, *args)
    assert (run.returncode, run.stdout) == (2, "")
    assert says in run.stderr
    assert "Traceback" not in run.stderr
