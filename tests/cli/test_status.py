"""`llmscale status` beside a run in another process."""

import signal
from pathlib import Path

import orjson

from tests.cli.tool import (
    lines_in,
    llmscale,
    on_a_terminal,
    prompts,
    start,
    stop,
    wait_until,
    write_rows,
)

RUN = ("run", "in.jsonl", "-o", "out.jsonl", "-m", "sim/latency=0.1", "--concurrency", 1)


def test_a_running_a_stopped_and_a_finished_job_are_told_apart(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(60))
    out = tmp_path / "out.jsonl"
    run = start(*RUN, cwd=tmp_path)
    wait_until(lambda: lines_in(tmp_path / "out.jsonl.partial") >= 12)
    running = llmscale("status", "out.jsonl", cwd=tmp_path)
    in_json = orjson.loads(llmscale("status", "out.jsonl", "--json", cwd=tmp_path).stdout)
    assert running.returncode == 0, running.stderr
    assert running.stdout.startswith("out.jsonl: running since ")
    assert " of 60 (" in running.stdout
    assert " rows/s, about " in running.stdout
    assert (in_json["state"], in_json["rows"]) == ("running", 60)
    assert 0 < in_json["answered"] < 60
    stop(run, signal.SIGINT)
    assert (
        "exit code 130; the same command resumes"
        in llmscale("status", "out.jsonl", cwd=tmp_path).stdout
    )
    assert llmscale(*RUN[:-4], "-m", "sim/a", cwd=tmp_path).returncode == 2, "another model"
    llmscale(*RUN[:-1], 60, cwd=tmp_path)
    finished = llmscale("status", "out.jsonl", cwd=tmp_path).stdout
    assert finished.startswith("out.jsonl: finished; ")
    assert "60 of 60 (100.0 %), 0 failed" in finished
    assert not out.with_name("out.jsonl.status.json").exists()


def test_a_killed_run_is_said_to_be_killed(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(60))
    run = start(*RUN, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "out.jsonl.status.json").exists())
    stop(run, signal.SIGKILL)
    shown = llmscale("status", "out.jsonl", cwd=tmp_path).stdout
    assert shown.startswith("out.jsonl: killed after ")


def test_watch_goes_on_until_the_run_ends(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(30))
    run = start(*RUN, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "out.jsonl.status.json").exists())
    exit_code, shown = on_a_terminal("status", "out.jsonl", "--watch", cwd=tmp_path)
    run.communicate(timeout=30)
    assert run.wait() == exit_code == 0
    assert shown.index("running since") < shown.index("\x1b[J") < shown.index("finished")


def test_a_job_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    ended = llmscale("status", "out.jsonl", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is no job with the output out.jsonl" in ended.stderr
