"""How a run ends: exit codes, and what is safe afterwards.

Signals, locks and closed pipes are cases C04 and C07 of tests/reliability, which run by default.
"""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.tool import (
    arrived,
    command,
    environment,
    lines_in,
    llmscale,
    prompts,
    read_rows,
    report_of,
    start,
    stop,
    wait_until,
    write_rows,
)
from tests.platforms import FULL_DEVICE, needs_full_device
from tests.servers.chat import chat_process

SLOW = ("run", "in.jsonl", "-o", "out.jsonl", "--model", "sim/latency=0.1", "--concurrency", 4)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("nowhere.jsonl",), "there is no input nowhere.jsonl"),
        (("in.jsonl", "--model", "nobody/x"), "names no known provider"),
        (("in.jsonl", "--model", "openai/gpt-4.1-mini"), "OPENAI_API_KEY"),
        (("in.jsonl", "--concurrency", "0"), "--concurrency"),
        (("in.jsonl", "--temperature", "9"), "--temperature must be at most 2, not 9"),
        (("in.jsonl", "--template", "{"), "--template"),
        (("in.jsonl", "--param", "x"), "KEY=JSON"),
        (("in.jsonl", "--json-schema", "none.json"), "none.json"),
        (("in.jsonl", "-o", "nowhere/out.jsonl"), "no folder nowhere"),
        (("in.jsonl", "-o", "in.jsonl"), "both input and output"),
        (("in.jsonl", "-o", "/dev/null", "--overwrite"), "/dev/null is a device or a pipe"),
        (("in.jsonl", "-o", "x" * 245), "File name too long; name another file"),
        (("in.jsonl", "--config", "none.toml"), "none.toml"),
        (("in.jsonl", "--model", "sim/latncy=1"), "latncy"),
        (("in.jsonl", "--cache-ttl", "soon"), "--cache-ttl"),
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


def test_a_refused_key_stops_the_job_and_is_not_hammered(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(200))
    ledger = tmp_path / "ledger"
    with chat_process("--faults", "403:1", "--ledger", ledger, "--latency", 0.02) as url:
        ended = llmscale(
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "openai/m", "--base-url", url),
            *("--concurrency", 8),
            cwd=tmp_path,
        )
    assert ended.returncode == 3
    assert "refuses the job" in ended.stderr
    assert len(arrived(ledger)) <= 8
    report = report_of(tmp_path / "out.jsonl")
    assert report["rows"]["pending"] == 200
    assert not (tmp_path / "out.jsonl").exists()


@needs_full_device
def test_a_full_disk_is_exit_code_5(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(3))
    with Path(FULL_DEVICE).open("wb") as full:
        job = ("run", "in.jsonl", "-o", "-", "--model", "sim/x")
        process = start(*job, cwd=tmp_path, stdout=full.fileno())
        _, said = process.communicate(timeout=20)
    assert process.wait() == 5
    assert "No space left" in said


def test_a_killed_run_resumes_with_no_row_lost_and_counts_those_in_flight(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(40))
    process = start(*SLOW, cwd=tmp_path)
    wait_until(lambda: lines_in(tmp_path / "out.jsonl.partial") >= 8)
    stop(process, signal.SIGKILL)
    with (tmp_path / "out.jsonl.partial").open("ab") as partial:
        partial.write(b'{"id": null, "index": 39, "outp')  # torn
    kept = lines_in(tmp_path / "out.jsonl.partial")
    ended = llmscale(*SLOW[:-1], 40, cwd=tmp_path)
    report = report_of(tmp_path / "out.jsonl")
    assert ended.returncode == 0, ended.stderr
    assert report["rows"]["kept"] == kept
    assert report["calls"]["attempts"] == 40 - kept
    assert 1 <= report["max_repeated_calls"] <= 4
    assert llmscale("verify", "in.jsonl", "out.jsonl", cwd=tmp_path).returncode == 0


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


PRINTS = pytest.mark.parametrize(
    "args",
    [
        ("--version",),
        ("help",),
        ("run", "--help"),
        ("completion", "bash"),
        ("cache", "stats"),
        ("cache", "export", "-"),
        ("limits", "in.jsonl"),
    ],
    ids=" ".join,
)


def printing_to(output: int, *args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with something to print, and a descriptor for it."""
    cache = {"XDG_CACHE_HOME": str(folder / "cache"), "LLMSCALE_CACHE_MODE": "on"}
    write_rows(folder / "in.jsonl", prompts(1))
    llmscale("run", "in.jsonl", "--model", "sim/a", cwd=folder, **cache)
    return subprocess.run(
        command(*args),
        cwd=folder,
        env=environment(**cache),
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )


@PRINTS
def test_a_command_whose_reader_has_gone_ends_with_141_and_no_complaint(
    args: tuple[str, ...], tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = printing_to(writer, *args, folder=tmp_path)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


@needs_full_device
@PRINTS
def test_a_full_disk_under_standard_output_is_one_sentence_and_exit_code_5(
    args: tuple[str, ...], tmp_path: Path
) -> None:
    with Path(FULL_DEVICE).open("w") as full:
        ended = printing_to(full.fileno(), *args, folder=tmp_path)
    said = "error: can't write to standard output: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (5, said)
