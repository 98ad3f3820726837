"""A process that is a fork has all of its own that one from the command line has."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.forked import next_server
from tests.cli.tool import (
    Process,
    environment,
    llmscale,
    prompts,
    read_rows,
    start,
    stop,
    wait_until,
    write_rows,
)
from tests.platforms import needs_proc

ENDINGS = [("--version",), ("run", "--help"), ("run", "nothing.jsonl"), ("run", "--nonsense"), ()]


@pytest.mark.parametrize("args", ENDINGS)
def test_a_fork_ends_and_prints_as_a_process_does(tmp_path: Path, args: tuple[str, ...]) -> None:
    forked = llmscale(*args, cwd=tmp_path)
    real = subprocess.run(
        [sys.executable, "-m", "llmscale", *args],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (forked.returncode, forked.stdout) == (real.returncode, real.stdout)
    assert forked.stderr.split(" ", 1)[1:] == real.stderr.split(" ", 1)[1:]  # behind the time


def test_it_has_an_environment_a_folder_and_a_standard_input_of_its_own(tmp_path: Path) -> None:
    row = '{"prompt": "a"}\n'
    run = llmscale("run", "-", "-o", "o", cwd=tmp_path, stdin=row, LLMSCALE_MODEL="sim/mine")
    assert run.returncode == 0
    assert [line["model"] for line in read_rows(tmp_path / "o")] == ["sim/mine"]
    assert "LLMSCALE_MODEL" not in os.environ


def waiting(folder: Path) -> Process:
    write_rows(folder / "in.jsonl", prompts(1))
    process = start("run", "in.jsonl", "--model", "sim/latency=60", cwd=folder)
    wait_until((folder / "in.results.jsonl.partial").exists)
    return process


def test_a_signal_reaches_it_and_is_its_end(tmp_path: Path) -> None:
    process = waiting(tmp_path)
    assert process.poll() is None
    assert stop(process, signal.SIGKILL).returncode == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL


@needs_proc
def test_its_process_id_is_that_of_the_tool(tmp_path: Path) -> None:
    process = waiting(tmp_path)
    folder = Path(f"/proc/{process.pid}/cwd").resolve()
    stop(process, signal.SIGKILL)
    assert folder == tmp_path.resolve()


def test_no_two_in_a_row_have_one_seed_of_hashes() -> None:
    assert next_server() is not next_server()


@pytest.mark.parametrize(
    "name", ["PYTHONHASHSEED", "LANG", "SSL_CERT_FILE", "OPENBLAS_NUM_THREADS"]
)
def test_what_is_read_at_the_start_of_python_asks_for_a_start_of_python(name: str) -> None:
    server = next_server()
    assert server.can_start(environment(LLMSCALE_MODEL="sim/a", OPENAI_API_KEY="sk"))
    assert not server.can_start(environment(**{name: "1"}))
