"""`llmscale limits` as a person has it, and user limits in a run."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.tool import Run, llmscale, prompts, read_rows, start, stop, wait_until, write_rows

CONFIG = """
model = "sim/a"
[[endpoint]]
model = "sim/a"
rpm = 600
[limits.user]
rpm = 60
[limits.users.big]
rpm = 6_000
"""
KEYS = {
    "rows",
    "bad_rows",
    "too_large",
    "tokens",
    "rows_without_user",
    "minutes",
    "binds",
    "endpoints",
    "users",
    "more_users",
}


def write_job(folder: Path, users: Sequence[str | None], config: str = CONFIG) -> None:
    rows: list[dict[str, Any]] = [
        {**prompt, "user": user} for prompt, user in zip(prompts(len(users)), users, strict=True)
    ]
    write_rows(folder / "in.jsonl", rows)
    (folder / "llmscale.toml").write_text(config)


def test_the_budgets_are_a_table_on_standard_output(tmp_path: Path) -> None:
    write_job(tmp_path, ["a"] * 30 + ["big"] * 5 + [None])
    run = llmscale("limits", "in.jsonl", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert "limited by requests/min of user a: the job takes at least 29 s" in run.stdout
    lines = [line.split() for line in run.stdout.splitlines()]
    assert ["sim/a", "64", "600", "6", "-", "-", "-", "-"] in lines
    assert any(line[:2] == ["big", "5"] and line[3] == "6,000" for line in lines)
    assert "1 without a user" in run.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "llmscale.toml"]


def test_the_budgets_are_json_for_programs(tmp_path: Path) -> None:
    write_job(tmp_path, ["a"])
    run = llmscale("limits", "in.jsonl", "--json", "--model", "sim/b", cwd=tmp_path)
    seen = orjson.loads(run.stdout)
    assert seen.keys() == KEYS
    assert [e["name"] for e in seen["endpoints"]] == ["sim/b", "sim/a"]


def test_names_from_rows_steer_no_terminal_and_are_no_markup(tmp_path: Path) -> None:
    write_job(tmp_path, ["\x1b[31m[/b][link=x]\u202e"] * 9)
    run = llmscale("limits", "in.jsonl", cwd=tmp_path)
    assert run.returncode == 0
    assert "\ufffd[31m[/b][link=x]\ufffd" in run.stdout
    assert not set(run.stdout) & {"\x1b", "\u202e"}


def refused(folder: Path, *args: str) -> Run:
    run = llmscale("limits", *args, cwd=folder)
    assert (run.returncode, run.stdout) == (2, "")
    assert "Traceback" not in run.stderr
    return run


def test_invalid_use_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    write_job(tmp_path, ["a"], '[limits.user]\nrpm = "fast"\n')
    assert "invalid rate 'fast'" in refused(tmp_path, "in.jsonl").stderr
    (tmp_path / "llmscale.toml").unlink()
    assert "no input" in refused(tmp_path, "nothing.jsonl").stderr
    assert "no-config" in refused(tmp_path, "in.jsonl", "--config", "no-config").stderr


@pytest.mark.parametrize("how", ["a file", "a pipe"])
def test_a_run_keeps_users_to_their_limits_and_answers_every_row_once(
    tmp_path: Path, how: str
) -> None:
    only_users_bind = CONFIG.replace("600\n", "6_000\n").replace("60\n", "100\n")
    write_job(tmp_path, ["a"] * 4 + ["big"] * 40 + [None] * 5, only_users_bind)
    began_s = time.monotonic()
    if how == "a file":
        run = llmscale("run", "in.jsonl", cwd=tmp_path)
        rows = read_rows(tmp_path / "in.results.jsonl")
    else:
        piped = (tmp_path / "in.jsonl").read_text()
        run = llmscale("run", "-", "-o", "-", cwd=tmp_path, stdin=piped)
        rows = [orjson.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, run.stderr
    assert sorted(row["index"] for row in rows) == list(range(49))
    assert time.monotonic() - began_s >= 1.8, "four rows, one in 0.6 s"


def test_a_row_above_its_users_minute_is_a_failed_row(tmp_path: Path) -> None:
    write_job(tmp_path, ["a", "b"], "[limits.users.a]\ntpm = 10\n")
    run = llmscale("run", "in.jsonl", "--model", "sim/a", cwd=tmp_path)
    assert run.returncode == 1
    first, second = read_rows(tmp_path / "in.results.jsonl")
    assert (first["error"]["type"], first["attempts"]) == ("invalid_request", 0)
    assert "10 a minute" in first["error"]["message"]
    assert second["error"] is None


def test_ctrl_c_ends_workers_that_wait_for_a_user_at_once(tmp_path: Path) -> None:
    write_job(tmp_path, ["a"] * 100, CONFIG.replace("rpm = 60\n", "rpm = 1\n"))
    process = start("run", "in.jsonl", cwd=tmp_path)
    partial = tmp_path / "in.results.jsonl.partial"
    wait_until(lambda: partial.exists() and partial.read_bytes().count(b"\n") == 1)
    began_s = time.monotonic()
    run = stop(process, signal.SIGINT)
    assert run.returncode == 130
    assert time.monotonic() - began_s < 2.0
    assert partial.read_bytes().count(b"\n") == 1


def test_a_stopped_run_of_users_resumes_with_the_rows_that_are_left(tmp_path: Path) -> None:
    write_job(tmp_path, ["a"] * 3 + ["big"] * 5)
    assert llmscale("run", "in.jsonl", "--limit", 2, cwd=tmp_path).returncode == 0
    run = llmscale("run", "in.jsonl", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert [row["index"] for row in read_rows(tmp_path / "in.results.jsonl")] == list(range(8))
