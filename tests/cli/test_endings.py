"""How a run ends: exit codes, signals, locks, and what is safe afterwards."""

import signal
import subprocess
from pathlib import Path

import orjson
import pytest

from tests.cli.tool import (
    command,
    environment,
    lines_in,
    llmscale,
    prompts,
    read_rows,
    start,
    stop,
    wait_until,
    write_rows,
)
from tests.servers.chat import chat_process

SLOW = ("run", "in.jsonl", "-o", "out.jsonl", "--model", "sim/latency=0.1", "--concurrency", 4)


def asked(ledger: Path) -> list[dict[str, object]]:
    """Return the calls that arrived at the server."""
    return [entry for entry in read_rows(ledger) if entry["event"] == "arrived"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("nowhere.jsonl",), "there is no input nowhere.jsonl"),
        (("in.jsonl", "--model", "nobody/x"), "names no known provider"),
        (("in.jsonl", "--model", "openai/gpt-4.1-mini"), "OPENAI_API_KEY"),
        (("in.jsonl", "--concurrency", "0"), "--concurrency"),
        (("in.jsonl", "--temperature", "9"), "<= 2.0"),
        (("in.jsonl", "--template", "{"), "--template"),
        (("in.jsonl", "--param", "x"), "KEY=JSON"),
        (("in.jsonl", "--json-schema", "none.json"), "none.json"),
        (("in.jsonl", "-o", "nowhere/out.jsonl"), "no folder nowhere"),
        (("in.jsonl", "-o", "in.jsonl"), "both input and output"),
        (("in.jsonl", "-o", "/dev/null", "--overwrite"), "/dev/null is a device or a pipe"),
        (("in.jsonl", "-o", "x" * 245), "File name too long; name another file"),
        (("in.jsonl", "--config", "none.toml"), "none.toml"),
        (("in.jsonl", "--model", "sim/latncy=1"), "latncy"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    tmp_path: Path, args: tuple[str, ...], sentence: str
) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(1))
    ended = llmscale("run", *args, cwd=tmp_path)
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_unknown_flag_is_exit_code_2(tmp_path: Path) -> None:
    assert llmscale("run", "in.jsonl", "--nonsense", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_the_job_and_is_not_hammered(tmp_path: Path, status: int) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(200))
    ledger = tmp_path / "ledger"
    with chat_process("--faults", f"{status}:1", "--ledger", ledger, "--latency", 0.02) as url:
        ended = llmscale(
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "openai/m", "--base-url", url),
            *("--concurrency", 8),
            cwd=tmp_path,
        )
    assert ended.returncode == 3
    assert "refuses the job" in ended.stderr
    assert len(asked(ledger)) <= 8
    report = orjson.loads((tmp_path / "out.report.json").read_bytes())
    assert report["rows"]["pending"] == 200
    assert not (tmp_path / "out.jsonl").exists()


def test_all_rows_failed_is_exit_code_1(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(3))
    ended = llmscale(
        *("run", "in.jsonl", "-o", "out.jsonl", "--model", "sim/error_rate=1"),
        *("--max-attempts", 1),
        cwd=tmp_path,
    )
    assert ended.returncode == 1
    assert [row["error"]["type"] for row in read_rows(tmp_path / "out.jsonl")] == [
        "server_error"
    ] * 3


def test_a_full_disk_is_exit_code_5(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(3))
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command("run", "in.jsonl", "-o", "-", "--model", "sim/x"),
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode == 5
    assert b"No space left" in ended.stderr


def test_a_second_process_is_locked_out_and_told_by_whom(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(100))
    first = start(*SLOW, cwd=tmp_path)
    wait_until(lambda: lines_in(tmp_path / "out.jsonl.partial"))
    second = llmscale(*SLOW, cwd=tmp_path)
    assert second.returncode == 6
    assert f"process {first.pid}" in second.stderr
    stop(first, signal.SIGKILL)
    assert llmscale(*SLOW[:-1], 100, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_sending_at_once_and_the_same_command_finishes_the_job(
    tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(60))
    ledger = tmp_path / "ledger"
    with chat_process("--latency", 0.1, "--ledger", ledger) as url:
        run = (*SLOW[:4], "--model", "openai/m", "--base-url", url, "--concurrency", 4)
        process = start(*run, cwd=tmp_path)
        wait_until(lambda: lines_in(tmp_path / "out.jsonl.partial") >= 8)
        before = len(asked(ledger))
        ended = stop(process, number)
        assert ended.returncode == exit_code
        assert "to resume: llmscale run in.jsonl" in ended.stderr
        assert len(asked(ledger)) <= before + 4  # those already on their way
        assert lines_in(tmp_path / "out.jsonl.partial") == len(asked(ledger))  # none is lost
        assert llmscale(*run, cwd=tmp_path).returncode == 0
        assert len(asked(ledger)) == 60  # and none is paid twice
    assert llmscale("verify", "in.jsonl", "out.jsonl", cwd=tmp_path).returncode == 0


def test_a_second_ctrl_c_does_not_wait_for_answers(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(4))
    with chat_process("--latency", 30) as url:
        process = start(*SLOW[:4], "--model", "openai/m", "--base-url", url, cwd=tmp_path)
        wait_until(lambda: (tmp_path / "out.jsonl.partial").exists())
        wait_until(lambda: b"0000000004" in (tmp_path / "out.jsonl.lock").read_bytes())
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "draining" in process.stderr.readline()
        assert stop(process, signal.SIGINT).returncode == 130


def test_a_killed_run_resumes_with_no_row_lost_and_counts_those_in_flight(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(40))
    process = start(*SLOW, cwd=tmp_path)
    wait_until(lambda: lines_in(tmp_path / "out.jsonl.partial") >= 8)
    stop(process, signal.SIGKILL)
    with (tmp_path / "out.jsonl.partial").open("ab") as partial:
        partial.write(b'{"id": null, "index": 39, "outp')  # torn
    kept = lines_in(tmp_path / "out.jsonl.partial")
    ended = llmscale(*SLOW[:-1], 40, cwd=tmp_path)
    report = orjson.loads((tmp_path / "out.report.json").read_bytes())
    assert ended.returncode == 0, ended.stderr
    assert report["rows"]["kept"] == kept
    assert report["calls"]["attempts"] == 40 - kept
    assert 1 <= report["max_repeated_calls"] <= 4
    assert llmscale("verify", "in.jsonl", "out.jsonl", cwd=tmp_path).returncode == 0


def test_a_reader_that_goes_away_stops_the_run_quietly(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(200))
    process = subprocess.Popen(
        command("run", "in.jsonl", "-o", "-", "--model", "sim/latency=0.05", "--concurrency", 2),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 141
    assert b"Traceback" not in said


def test_a_provider_that_never_answers_fails_its_row_and_not_the_job(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(2))
    with chat_process("--faults", "hang:1") as url:
        ended = llmscale(
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "openai/m", "--base-url", url),
            *("--timeout", 0.3, "--max-attempts", 1),
            cwd=tmp_path,
        )
    assert ended.returncode == 1
    assert {row["error"]["type"] for row in read_rows(tmp_path / "out.jsonl")} == {"timeout"}
