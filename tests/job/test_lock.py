"""One process at a time for a job, and the count of its rows in flight outlives it."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmscale.core.errors import ConfigError, LockedError, StorageError
from llmscale.job.lock import JobLock
from tests.job import full

HOLDER = """
import sys
from pathlib import Path
from tests.job import full
from llmscale.job.lock import JobLock

lock = JobLock(Path(sys.argv[1]))
for _ in range(5):
    lock.begin()
lock.end()
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.lock"


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have a process hold the lock with four rows in flight."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_by_the_pid_of_the_first_until_that_is_killed(
    path: Path,
) -> None:
    with held_by_another_process(path) as process:
        for _ in range(2):
            with pytest.raises(LockedError, match=f"^process {process.pid} is running this job"):
                JobLock(path)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        lock = JobLock(path)
    assert lock.left_in_flight == 4, "the count outlives the kill"
    lock.release()


def test_a_process_that_ends_well_leaves_the_rows_that_it_gave_up(path: Path) -> None:
    with held_by_another_process(path) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0
    lock = JobLock(path)
    assert lock.left_in_flight == 4
    lock.release()


def test_a_lock_with_nothing_in_flight_is_gone_with_its_holder(path: Path) -> None:
    lock = JobLock(path)
    lock.begin()
    lock.end()
    lock.release()
    assert not path.exists()


def test_rows_that_end_in_a_group_are_all_counted(path: Path) -> None:
    lock = JobLock(path)
    for _ in range(5):
        lock.begin()
    lock.end(3)
    lock.release()
    lock = JobLock(path)
    assert lock.left_in_flight == 2
    lock.release()


def test_the_count_stays_until_it_is_noted_elsewhere(path: Path) -> None:
    """A run that is refused, say for changed settings, must not lose what the next has to add."""
    leave_in_flight(path, 3)
    for _ in range(2):
        lock = JobLock(path)
        assert lock.left_in_flight == 3
        lock.release()
    lock = JobLock(path)
    lock.forget_left()
    lock.release()
    assert not path.exists()


def leave_in_flight(path: Path, rows: int) -> None:
    lock = JobLock(path)
    for _ in range(rows):
        lock.begin()
    lock.release()


def test_the_count_restarts_once_the_old_one_is_recorded(path: Path) -> None:
    leave_in_flight(path, 3)
    lock = JobLock(path)
    lock.forget_left()
    lock.begin()
    lock.release()
    lock = JobLock(path)
    assert lock.left_in_flight == 1
    lock.release()


@pytest.mark.parametrize("content", [b"", b"in_flight=", b"in_flight=x" * 100, b"\0" * 64])
def test_a_damaged_lock_counts_nothing(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    lock = JobLock(path)
    assert lock.left_in_flight == 0
    with pytest.raises(LockedError, match=f"process {os.getpid()} is running this job"):
        JobLock(path)
    lock.release()


@pytest.mark.parametrize("content", [b"\xff" * 64, b"pid=5\n", b"[[package]]\n" * 100])
def test_a_file_that_is_no_lock_of_ours_is_left_alone(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"out\.jsonl\.lock exists and is not a lock of llmscale"):
        JobLock(path)
    assert path.read_bytes() == content


def test_a_link_or_a_pipe_in_the_place_of_a_lock_is_left_alone(path: Path) -> None:
    target = path.with_name("target")
    for content in (b"in_flight=0000000003", None):
        if content:
            target.write_bytes(content)
        path.symlink_to(target)
        with pytest.raises(StorageError, match="Too many levels of symbolic links"):
            JobLock(path)
        assert path.is_symlink()
        assert not target.exists() or target.read_bytes() == content
        path.unlink()
        target.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a lock of llmscale"):
        JobLock(path)


def test_a_lock_that_is_removed_while_it_is_taken_is_taken_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    taken: list[int] = []

    def late(descriptor: int, operation: int) -> None:
        taken.append(descriptor)
        if len(taken) == 1:
            path.unlink()  # as its last holder does
        if len(taken) == 2:
            path.unlink()
            path.touch()  # as a third process does
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    lock = JobLock(path)
    assert len(taken) == 3
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LockedError):
        JobLock(path)
    lock.release()


@pytest.mark.parametrize("operation", ["open", "pwrite"])
def test_a_full_disk_is_a_sentence_and_the_lock_is_let_go(
    operation: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_in_flight(path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, operation, full)
        with pytest.raises(StorageError, match=r"out\.jsonl\.lock: No space left on device"):
            JobLock(path)
    lock = JobLock(path)
    assert lock.left_in_flight == 3
    lock.release()


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        JobLock(tmp_path / "none" / "lock")


@pytest.mark.parametrize("usd", [0.0, 0.00000001, 4.9712, 123_456.789])
def test_dollars_outlive_the_process_until_they_are_noted_elsewhere(path: Path, usd: float) -> None:
    lock = JobLock(path)
    lock.note_usd(1.0)
    lock.note_usd(usd)
    lock.release()
    for _ in range(2):
        lock = JobLock(path)
        assert lock.left_usd == pytest.approx(usd, abs=1e-10)
        assert lock.left_in_flight == 0
        lock.release()
    lock = JobLock(path)
    lock.forget_usd()
    lock.release()
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"in_flight=0000000003 pid=12345\n".ljust(64),
        b"in_flight=0000000003 usd=-------------------- pid=5\n",
        b"in_flight=0000000003 usd=                 nan pid=5\n",
        b"in_flight=0000000003 usd=                 inf pid=5\n",
    ],
)
def test_a_lock_that_names_no_dollars_has_none(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    lock = JobLock(path)
    assert lock.left_usd is None
    lock.release()
