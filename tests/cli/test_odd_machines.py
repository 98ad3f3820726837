"""Machines and files as nobody wants them: one sentence and a documented exit code, and no harm."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from llmscale.core.atomic_file import open_private
from tests.cli.tool import llmscale

RUN = ("run", "in.jsonl", "-m", "sim/a", "-o", "out.jsonl")
AS_ANOTHER = "setpriv --reuid 54321 --clear-groups"
"""A user without an entry, whom only root can become."""


def _can_another_run_python() -> bool:
    """Tell whether the interpreter can be started by another user: it may lie in a home."""
    started = [*AS_ANOTHER.split(), sys.executable, "-c", "import llmscale.cli"]
    try:
        return subprocess.run(started, capture_output=True, check=False).returncode == 0
    except OSError:  # no setpriv, as on macOS
        return False


another_user = pytest.mark.skipif(
    not _can_another_run_python(), reason="no other user can run this Python"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    return tmp_path


def in_shell(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command line in which `llmscale` is this one."""
    python = f"{sys.executable} -m llmscale"
    line = command.replace("llmscale", python, 1)
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True,
        errors="replace",
        timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_files_of_the_job(closed: str, folder: Path) -> None:
    ended = in_shell(f"llmscale {' '.join(RUN)} {closed}", folder)
    assert ended.returncode == 0
    lines = (folder / "out.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["index"] for line in lines] == [0, 1]


def test_a_closed_standard_output_that_is_wanted_is_an_error(folder: Path) -> None:
    ended = in_shell("llmscale run in.jsonl -m sim/a -o - >&-", folder)
    assert ended.returncode == 5
    assert "can't write to standard output" in ended.stderr


@pytest.mark.parametrize(
    "command",
    ["--nothing", "cache stats", "report none.jsonl", "cache export x", "cache clear", "help -q"],
)
def test_a_full_standard_error_leaves_the_exit_code(command: str, folder: Path) -> None:
    expected = in_shell(f"llmscale {command}", folder).returncode
    assert in_shell(f"llmscale {command} 2> /dev/full", folder).returncode == expected


def test_a_question_that_nobody_can_answer_is_a_no(folder: Path) -> None:
    assert in_shell("llmscale cache clear <&- 2>&-", folder).returncode == 1


@another_user
@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("run in.jsonl -m sim/a -o -", 0),
        ("estimate in.jsonl -m sim/a", 0),
        ("plan in.jsonl -m sim/a", 1),
        ("cache stats", 2),
        ("cache clear --yes", 2),
        ("run in.jsonl -m local/~/m.gguf --dry-run", 2),
    ],
)
def test_no_home_is_no_fault(command: str, exit_code: int, folder: Path) -> None:
    nobody = f"env -u HOME -u XDG_CACHE_HOME {AS_ANOTHER}"
    for path in folder.parents[:2]:
        path.chmod(0o755)
    folder.chmod(0o777)
    ended = in_shell(f"{nobody} llmscale {command}", folder)
    assert ended.returncode == exit_code, ended.stderr


@another_user
def test_a_folder_that_may_not_be_entered_is_a_sentence(folder: Path) -> None:
    folder.chmod(0o700)
    ended = in_shell(f"{AS_ANOTHER} llmscale cache stats", folder)
    assert ended.returncode == 5
    assert "Permission denied" in ended.stderr


def test_no_character_is_an_error(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"prompt": "é€"}\n')
    prefix = "env LANG=C PYTHONIOENCODING=latin-1"
    ended = in_shell(f"{prefix} llmscale run in.jsonl -m sim/é€ --dry-run", folder)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_too_few_open_files_are_a_sentence(folder: Path) -> None:
    ended = in_shell(f"ulimit -n 16; llmscale {' '.join(RUN)}", folder)
    assert ended.returncode == 2
    assert "this process may open 16 files" in ended.stderr


@pytest.mark.parametrize("suffix", [".partial", ".job.json", ".lock"])
@pytest.mark.parametrize("kind", ["pipe", "hard link"])
def test_what_another_has_put_beside_the_output_is_refused(
    kind: str, suffix: str, folder: Path
) -> None:
    planted, victim = folder / f"out.jsonl{suffix}", folder / "victim"
    victim.write_text("theirs")
    if kind == "pipe":
        os.mkfifo(planted)
    else:
        planted.hardlink_to(victim)
    ended = llmscale(*RUN, cwd=folder)
    assert ended.returncode in (2, 5)
    assert victim.read_text() == "theirs"
    assert not (folder / "out.jsonl").exists()


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_private(tmp_path / "a", os.O_RDWR)


def test_a_manifest_without_a_field_is_refused(folder: Path) -> None:
    assert llmscale(*RUN, cwd=folder).returncode == 0
    path = folder / "out.jsonl.job.json"
    whole = orjson.loads(path.read_bytes())
    for name in whole:
        path.write_bytes(orjson.dumps({n: value for n, value in whole.items() if n != name}))
        ended = llmscale(*RUN, cwd=folder)
        assert (ended.returncode, "damaged" in ended.stderr) == (2, True), name


def test_a_run_writes_the_report_that_an_earlier_one_did_not_come_to(folder: Path) -> None:
    llmscale(*RUN, cwd=folder)
    (folder / "out.report.json").unlink()
    assert llmscale(*RUN, cwd=folder).returncode == 0
    assert llmscale("report", "out.jsonl", cwd=folder).returncode == 0


def test_a_row_that_is_changed_while_the_job_runs_keeps_it_from_being_finished(
    folder: Path,
) -> None:
    (folder / "in.jsonl").write_text("".join(f'{{"prompt": "row {n:03}"}}\n' for n in range(100)))
    process = started(folder, "sim/latency=0.2", "--concurrency", "10")
    wait_for(folder / "out.jsonl.partial")
    with (folder / "in.jsonl").open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"X")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "the input changed while it was read: in.jsonl" in said
    assert not (folder / "out.jsonl").exists()


def test_rows_that_are_appended_are_added_to_a_finished_job(folder: Path) -> None:
    llmscale(*RUN, cwd=folder)
    with (folder / "in.jsonl").open("a") as file:
        file.write('{"prompt": "c"}\n')
    ended = llmscale(*RUN, cwd=folder)
    assert ended.returncode == 0
    lines = [orjson.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert orjson.loads((folder / "out.report.json").read_bytes())["rows"]["kept"] == 2


def test_rows_that_are_appended_while_a_job_runs_are_those_of_the_next_run(folder: Path) -> None:
    (folder / "in.jsonl").write_text("".join(f'{{"prompt": "row {n}"}}\n' for n in range(40)))
    process = started(folder, "sim/latency=0.2", "--concurrency", "10")
    wait_for(folder / "out.jsonl.partial")
    with (folder / "in.jsonl").open("a") as file:
        file.write('{"prompt": "later"}\n')
    process.communicate(timeout=60)
    assert process.returncode == 0
    again = llmscale("run", "in.jsonl", "-m", "sim/latency=0.2", "-o", "out.jsonl", cwd=folder)
    assert again.returncode == 0
    assert len((folder / "out.jsonl").read_bytes().splitlines()) == 41


def test_a_row_that_goes_on_is_no_appended_row(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"prompt": "a"}')
    llmscale(*RUN, cwd=folder)
    (folder / "in.jsonl").write_text('{"prompt": "a"} {"prompt": "b"}\n')
    assert llmscale(*RUN, cwd=folder).returncode == 2


def test_a_hangup_stops_a_run_as_a_termination_does(folder: Path) -> None:
    process = started(folder, "sim/latency=30")
    wait_for(folder / "out.jsonl.lock")
    time.sleep(0.5)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert "draining in-flight requests" in said


def test_a_damaged_cache_can_be_cleared(folder: Path) -> None:
    (folder / "cache").mkdir()
    (folder / "cache" / "cache.db").write_bytes(os.urandom(100_000))
    where = ("--cache-dir", "cache")
    assert llmscale("cache", "stats", *where, cwd=folder).returncode == 5
    assert llmscale("cache", "clear", "--yes", *where, cwd=folder).returncode == 0
    assert llmscale("cache", "stats", *where, cwd=folder).returncode == 0


def test_a_cache_that_another_process_holds_does_not_hold_a_run_up(folder: Path) -> None:
    caching = ("--cache", "on", "--cache-dir", "cache")
    llmscale(*RUN, *caching, cwd=folder)
    path = folder / "cache" / "cache.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        began_s = time.monotonic()
        ended = llmscale(*RUN, "--overwrite", *caching, cwd=folder)
        took_s = time.monotonic() - began_s
    assert ended.returncode == 0
    assert "another process holds it" in ended.stderr
    assert took_s < 30


def test_a_found_settings_file_says_where_prompts_and_answers_go(folder: Path) -> None:
    (folder / "llmscale.toml").write_text(
        'base_url = "https://prompts.example/v1"\n[cache]\ndir = "theirs"\n'
    )
    ended = llmscale("run", "in.jsonl", "-m", "openai/x", "--dry-run", cwd=folder)
    assert "llmscale.toml sends prompts to prompts.example" in ended.stderr
    assert "llmscale.toml stores answers in theirs" in ended.stderr


def test_calls_that_were_refused_are_none_that_may_be_repeated(folder: Path) -> None:
    (folder / "in.jsonl").write_text("".join(f'{{"prompt": "row {n}"}}\n' for n in range(40)))
    address = ("--base-url", "http://127.0.0.1:9", "--concurrency", "8")
    command = ("run", "in.jsonl", "-m", "openai/m", *address, "-o", "out.jsonl")
    for _ in range(2):
        assert llmscale(*command, cwd=folder, OPENAI_API_KEY="x").returncode == 3
    assert orjson.loads((folder / "out.jsonl.job.json").read_bytes())["max_repeated_calls"] == 0


def started(folder: Path, model: str, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "llmscale", "run", "in.jsonl", "-m", model, "-o", "out.jsonl"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.Popen(
        [*command, *options], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path) -> None:
    deadline_s = time.monotonic() + 30
    while not path.exists() or (path.suffix == ".partial" and not path.stat().st_size):
        assert time.monotonic() < deadline_s, f"{path} did not come"
        time.sleep(0.01)
