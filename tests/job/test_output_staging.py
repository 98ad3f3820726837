"""What is copied ahead of the end is what the end would have copied, whatever comes between."""

import hashlib
import logging
import os
import random
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmscale.core.choices import OutputFormat
from llmscale.core.errors import StorageError
from llmscale.core.output_line import encode, line_of
from llmscale.job import output_staging as module
from llmscale.job.job import Job
from llmscale.job.job_paths import JobPaths
from llmscale.job.journal import Journal
from llmscale.job.output_staging import Staging
from tests.job import content_of, identity, opened, outcome

ROWS = 60
STEP = 2_000  # bytes, some ten lines


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_BYTES", STEP)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with opened(tmp_path, ROWS) as found:
        yield found


def line(index: int, *, failed: bool = False) -> dict[str, Any]:
    return line_of(outcome(index, failed=failed))


def lines(indexes: Sequence[int], output_format: OutputFormat = "llmscale") -> bytes:
    return b"".join(encode(line(index), output_format) for index in indexes)


def put(
    journal: Journal, staging: Staging, indexes: Sequence[int], *, failed: bool = False
) -> None:
    """Append rows one by one, each copied ahead before the next one where it may be."""
    for index in indexes:
        journal.append([line(index, failed=failed)])
        staging.follow()
        staging._wait()


def copied(folder: Path, staging: Staging) -> bytes:
    """Return what is in the file by now."""
    if staging._copy is None:
        return b""
    staging._copy.file.flush()
    return (folder / "out.jsonl.tmp").read_bytes()


def orders() -> Iterator[Any]:
    yield pytest.param(range(ROWS), id="in order")
    yield pytest.param(range(ROWS)[::-1], id="the first row last")
    for seed in range(5):
        yield pytest.param(random.Random(seed).sample(range(ROWS), ROWS), id=f"shuffled {seed}")
    yield pytest.param([i ^ 7 if i < 56 else i for i in range(ROWS)], id="nearly in order")


@pytest.mark.parametrize("output_format", ["llmscale", "openai-batch"])
@pytest.mark.parametrize("order", [*orders()])
def test_the_output_is_the_same_with_any_part_copied_ahead(
    order: Sequence[int], output_format: OutputFormat, tmp_path: Path
) -> None:
    with opened(tmp_path, ROWS, output_format) as journal:
        staging = Staging(tmp_path / "out.jsonl", journal)
        put(journal, staging, order)
        path, sha256 = staging.finish()
    assert path == tmp_path / "out.jsonl.tmp"
    assert path.read_bytes() == lines(range(ROWS), output_format)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_most_is_copied_before_the_end(journal: Journal, tmp_path: Path) -> None:
    staging = Staging(tmp_path / "out.jsonl", journal)
    put(journal, staging, range(ROWS))
    assert len(copied(tmp_path, staging)) > len(lines(range(ROWS))) - 2 * STEP
    staging.finish()


def test_nothing_behind_a_gap_is_copied(journal: Journal, tmp_path: Path) -> None:
    staging = Staging(tmp_path / "out.jsonl", journal)
    put(journal, staging, [*range(20), *range(21, ROWS)])
    assert copied(tmp_path, staging) == lines(range(20))
    put(journal, staging, [20])
    assert staging.finish()[0].read_bytes() == lines(range(ROWS))


def test_a_small_job_is_copied_at_its_end(journal: Journal, tmp_path: Path) -> None:
    staging = Staging(tmp_path / "out.jsonl", journal)
    put(journal, staging, range(5))
    assert staging._thread is None
    assert content_of(tmp_path).keys() == {"out.jsonl.partial"}


def test_a_row_that_failed_in_an_earlier_run_waits_for_its_answer(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(
        b"".join(encode(line(i, failed=i == 1), "llmscale") for i in range(30))
    )
    with opened(tmp_path, ROWS) as journal:
        journal.append([line(40, failed=True)])
    with opened(tmp_path, ROWS) as journal:
        staging = Staging(tmp_path / "out.jsonl", journal)
        put(journal, staging, range(45, ROWS))
        assert copied(tmp_path, staging) == lines(range(1))
        put(journal, staging, [1, *range(30, 40), *range(41, 45)])
        assert lines(range(40)).startswith(copied(tmp_path, staging))
        put(journal, staging, [40])
        path, _ = staging.finish()
    assert path.read_bytes() == lines(range(ROWS))


def test_a_row_that_fails_in_this_run_is_copied_with_its_failure(
    journal: Journal, tmp_path: Path
) -> None:
    staging = Staging(tmp_path / "out.jsonl", journal)
    put(journal, staging, range(30))
    put(journal, staging, [30], failed=True)
    put(journal, staging, range(31, ROWS))
    last_word = lines(range(30)) + encode(line(30, failed=True), "llmscale")
    assert copied(tmp_path, staging).startswith(last_word)
    assert staging.finish()[0].read_bytes() == last_word + lines(range(31, ROWS))


def test_where_the_disk_has_no_room_for_twice_the_output_nothing_is_copied_ahead(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output_bytes = len(lines(range(ROWS)))
    for free, does in ((1.8 * output_bytes, False), (2.2 * output_bytes, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        staging = Staging(tmp_path / "out.jsonl", journal)
        put(journal, staging, range(40))
        assert bool(copied(tmp_path, staging)) is does
        staging.discard()
        assert content_of(tmp_path).keys() == {"out.jsonl.partial"}


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("a fault of ours")])
@pytest.mark.parametrize("block", [1, 2])
def test_after_an_error_on_the_way_the_end_starts_over(
    block: int,
    error: Exception,
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With half of a step in the file, to go on would write rows twice."""
    add = module._Copy.add
    blocks = 0

    def fails(copy: Any, content: bytes) -> None:
        nonlocal blocks
        blocks += 1
        if blocks == block:
            copy.file.write(content[: len(content) // 2])
            raise error
        add(copy, content)

    monkeypatch.setattr(module._Copy, "add", fails)
    staging = Staging(tmp_path / "out.jsonl", journal)
    with caplog.at_level(logging.DEBUG):
        put(journal, staging, range(40))
    assert str(error) in caplog.text
    assert content_of(tmp_path).keys() == {"out.jsonl.partial"}, "what is there is not believed"
    put(journal, staging, range(40, ROWS))
    path, sha256 = staging.finish()
    assert path.read_bytes() == lines(range(ROWS))
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_error_at_the_end_is_a_sentence_and_leaves_nothing(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    staging = Staging(tmp_path / "out.jsonl", journal)
    put(journal, staging, range(ROWS))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"can't write .*out.jsonl: No space left on device"):
        staging.finish()
    assert content_of(tmp_path).keys() == {"out.jsonl.partial"}


def test_what_is_copied_is_synced_now_and_then_so_that_the_last_sync_is_short(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = 0

    def fsync(descriptor: int) -> None:
        nonlocal synced
        synced += 1

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(module, "SYNC_BYTES", 2 * STEP)
    staging = Staging(tmp_path / "out.jsonl", journal)
    put(journal, staging, range(ROWS))
    ahead = synced
    size_bytes = len(lines(range(ROWS)))
    assert size_bytes // (4 * STEP) <= ahead <= size_bytes // (2 * STEP)
    staging.finish()
    assert synced == ahead + 1


def test_a_stop_ends_the_copy_in_its_middle_and_leaves_nothing(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_order, begun = Journal.in_order, threading.Event()
    went_on: list[bytes] = []

    def waiting(self: Journal, rows: range) -> Iterator[bytes]:
        for block in in_order(self, rows):
            begun.set()
            staging._stopped.wait(5)
            yield block
            went_on.append(block)

    monkeypatch.setattr(Journal, "in_order", waiting)
    staging = Staging(tmp_path / "out.jsonl", journal)
    journal.append([line(index) for index in range(40)])
    staging.follow()
    assert begun.wait(5)
    staging.discard()
    assert went_on == []
    assert content_of(tmp_path).keys() == {"out.jsonl.partial"}


def test_what_a_process_that_died_has_left_is_removed(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.tmp").write_bytes(b"half of an output")
    Staging(tmp_path / "out.jsonl", journal)
    assert content_of(tmp_path).keys() == {"out.jsonl.partial"}


def test_a_job_copies_ahead_while_it_runs_and_leaves_nothing_when_it_stops(tmp_path: Path) -> None:
    for to_the_end in (False, True):
        job = Job(JobPaths(tmp_path / "out.jsonl"), identity())
        job.begin(ROWS, "llmscale")
        for index in range(ROWS):
            if not job.journal.has_answer(index) and (to_the_end or index < 40):
                job.take_up(1)
                job.put([outcome(index)])
                job.staging._wait()
        if to_the_end:
            job.finish(job.journal.resumed_spend)
        else:
            assert copied(tmp_path, job.staging)
        job.close()
        assert "out.jsonl.tmp" not in content_of(tmp_path)
    assert (tmp_path / "out.jsonl").read_bytes() == lines(range(ROWS))
