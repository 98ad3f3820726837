"""Every finished row is safe when `append` returns, and found again in any damaged rest."""

import errno
import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec import structs

from llmscale.accounting.stats import Spend
from llmscale.core.choices import OutputFormat
from llmscale.core.errors import StorageError
from llmscale.core.output_line import encode, line_of, to_batch
from llmscale.job.job_paths import JobPaths
from llmscale.job.journal import Journal
from llmscale.job.output_staging import Staging
from tests.job import ONE_CALL, ROWS, lines_of, opened, outcome


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def append(journal: Journal, *indexes: int, failed: bool = False) -> None:
    for index in indexes:
        journal.append([line_of(outcome(index, failed=failed))])


def staged_of(folder: Path, journal: Journal) -> tuple[Path, str]:
    """Return the output that comes of a journal, and its SHA-256."""
    return Staging(folder / "out.jsonl", journal).finish()


def states(journal: Journal) -> str:
    """Return a character for each row that has an answer."""
    return "".join("A" if journal.has_answer(index) else "-" for index in range(journal.rows))


def test_a_link_in_its_place_is_neither_believed_nor_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(encode(line_of(outcome(0)), "llmscale"))
    before = elsewhere.read_bytes()
    (tmp_path / "out.jsonl.partial").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="Too many levels of symbolic links"), opened(tmp_path):
        pass
    assert elsewhere.read_bytes() == before


def test_what_is_appended_is_found_by_the_next_run(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        assert (journal.answered, journal.failed, states(journal)) == (0, 0, "-----")
        append(journal, 3, 0)
        append(journal, 1, failed=True)
        assert (journal.answered, journal.failed, states(journal)) == (2, 1, "A--A-")
        assert journal.resumed_spend == Spend()
    with opened(tmp_path) as journal:
        assert (journal.answered, journal.failed, states(journal)) == (2, 1, "A--A-")
        assert journal.resumed_spend == ONE_CALL + ONE_CALL + Spend(attempts=1)
        assert journal.damaged_lines == 0


def test_a_group_is_one_write_and_each_of_its_rows_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line_of(outcome(index, failed=index == 2)) for index in (3, 0, 2)]
    disk = Disk(os.write, room=10**9)
    with opened(tmp_path) as journal:
        monkeypatch.setattr(os, "write", disk.write)
        journal.append(lines)
        assert disk.writes == 1
        assert lines_of(tmp_path / "out.jsonl.partial") == lines
        assert (journal.answered, journal.failed, states(journal)) == (2, 1, "A--A-")
        append(journal, 1, 2, 4)
        staged, _ = staged_of(tmp_path, journal)
    assert lines_of(staged) == [line_of(outcome(index)) for index in range(ROWS)]
    with opened(tmp_path) as journal:
        assert (journal.answered, journal.damaged_lines) == (ROWS, 0)


def test_a_group_of_none_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append([])
        append(journal, 0)
    assert lines_of(tmp_path / "out.jsonl.partial") == [line_of(outcome(0))]


@pytest.mark.parametrize("output_format", ["llmscale", "openai-batch"])
def test_the_output_has_the_last_word_on_every_row_in_input_order(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    with opened(tmp_path, output_format=output_format) as journal:
        append(journal, 4, 2)
        append(journal, 0, 1, 3, failed=True)
        append(journal, 1)
        staged, sha256 = staged_of(tmp_path, journal)
    expected = [line_of(outcome(index, failed=index in (0, 3))) for index in range(ROWS)]
    if output_format == "openai-batch":
        expected = [to_batch(line) for line in expected]
    assert lines_of(staged) == expected
    assert len(sha256) == 64


def test_many_large_rows_in_any_order_are_put_in_order(tmp_path: Path) -> None:
    """More than is read or written at once, here and there in runs that follow one another."""
    lines = [line_of(outcome(index)) | {"metadata": "x" * 9_000} for index in range(400)]
    batches = [lines[at : at + 7] for at in range(0, 400, 7)]
    random.Random(1).shuffle(batches)
    with opened(tmp_path, rows=400) as journal:
        for batch in batches:
            journal.append(batch)
        staged, sha256 = staged_of(tmp_path, journal)
    assert lines_of(staged) == lines
    assert sha256 == hashlib.sha256(staged.read_bytes()).hexdigest()


def test_an_answer_is_never_replaced_by_a_failure(tmp_path: Path) -> None:
    with opened(tmp_path, rows=1) as journal:
        append(journal, 0, failed=True)
        assert journal.failed == 1
        append(journal, 0)
        append(journal, 0, failed=True)
        assert (journal.answered, journal.failed) == (1, 0)
    with opened(tmp_path, rows=1) as journal:
        assert (journal.answered, journal.failed) == (1, 0)
        staged, _ = staged_of(tmp_path, journal)
    assert [line["error"] for line in lines_of(staged)] == [None]


def test_a_torn_last_line_is_cut_and_its_row_retried(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.partial"
    with opened(tmp_path) as journal:
        append(journal, 0, 1)
    whole = path.read_bytes()
    first = whole[: whole.index(b"\n") + 1]
    for size in range(len(first), len(whole)):
        path.write_bytes(whole[:size])
        with opened(tmp_path) as journal:
            assert states(journal) == "A----"
            assert path.read_bytes() == first
            append(journal, 1)
        assert path.read_bytes() == whole
        assert journal.damaged_lines == 0, "torn is not damaged: it was never finished"


GOOD = encode(line_of(outcome(1)), "llmscale")


def without(name: str) -> bytes:
    return orjson.dumps({n: v for n, v in orjson.loads(GOOD).items() if n != name})


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"garbage",
        b"\x00" * 50,
        GOOD[:50],
        b"null",
        b"[]",
        b"{}",
        without("index"),
        without("error"),
        without("cost_usd"),
        GOOD.replace(b'"index":1', b'"index":5'),
        GOOD.replace(b'"index":1', b'"index":-1'),
        GOOD.replace(b'"index":1', b'"index":"1"'),
        GOOD.replace(b"input_tokens", b"inpuu_tokens"),
    ],
)
def test_a_damaged_line_in_the_middle_is_counted_and_its_row_retried(
    damaged: bytes, tmp_path: Path
) -> None:
    before, after = (encode(line_of(outcome(index)), "llmscale") for index in (0, 2))
    (tmp_path / "out.jsonl.partial").write_bytes(before + damaged.rstrip(b"\n") + b"\n" + after)
    with opened(tmp_path) as journal:
        assert (states(journal), journal.damaged_lines) == ("A-A--", 1)
        append(journal, 1, 3, 4)
        staged, _ = staged_of(tmp_path, journal)
    assert lines_of(staged) == [line_of(outcome(index)) for index in range(ROWS)]


def test_a_byte_that_flips_anywhere_never_stops_the_job(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.partial"
    whole = b"".join(encode(line_of(outcome(i, failed=i == 1)), "llmscale") for i in range(2))
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        with opened(tmp_path, 2, "openai-batch") as journal:
            missing = [i for i, state in enumerate(states(journal)) if state == "-"]
            append(journal, *missing)
            staged, _ = staged_of(tmp_path, journal)
        assert len(lines_of(staged)) == 2


def test_rows_of_a_finished_output_are_found_there_and_carried_over(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    lines = [encode(line_of(outcome(i, failed=i == 2)), "openai-batch") for i in range(4)]
    output.write_bytes(b"".join(lines))
    with opened(tmp_path, output_format="openai-batch") as journal:
        assert (states(journal), journal.failed) == ("AA-A-", 1)
        assert journal.resumed_spend == Spend(), "what the output cost is in the manifest"
        append(journal, 2, 4)
        staged, _ = staged_of(tmp_path, journal)
    assert lines_of(staged) == [to_batch(line_of(outcome(index))) for index in range(ROWS)]
    assert staged.read_bytes().startswith(lines[0] + lines[1])


@pytest.mark.parametrize("how", ["cached", "deduped"])
def test_a_row_that_another_has_paid_for_is_not_paid_for_again_in_the_sum(
    how: str, tmp_path: Path
) -> None:
    paid = outcome(0)
    assert paid.reply is not None
    reply = structs.replace(paid.reply, attempts=0, **{how: True})
    with opened(tmp_path) as journal:
        append(journal, 1)
        journal.append([line_of(structs.replace(paid, reply=reply, attempts=0))])
    with opened(tmp_path) as journal:
        assert (journal.answered, journal.resumed_spend) == (2, ONE_CALL)


class Disk:
    """An `os.write` that takes `room` bytes in all, or `at_once` with each call."""

    def __init__(
        self, really: Callable[[int, Any], int], *, room: int, at_once: int = 10**9
    ) -> None:
        self._really = really
        self._at_once = at_once
        self.room = room
        self.writes = 0

    def write(self, descriptor: int, content: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.writes += 1
        written = self._really(descriptor, content[: min(self.room, self._at_once)])
        self.room -= written
        return written


@pytest.mark.parametrize("at_once", [7, 10**9])
@pytest.mark.parametrize(
    "room", [0, 1, *(lines * len(GOOD) + more for lines in (1, 2) for more in (-1, 0, 1, 100))]
)
def test_of_a_group_that_the_disk_takes_in_part_the_whole_lines_are_kept_and_the_torn_one_is_cut(
    room: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = room // len(GOOD)
    disk = Disk(os.write, room=room, at_once=at_once)
    with opened(tmp_path) as journal:
        monkeypatch.setattr(os, "write", disk.write)
        with pytest.raises(StorageError, match=r"can't write .*partial: No space left"):
            journal.append([line_of(outcome(index)) for index in range(3)])
        assert states(journal) == "A" * kept + "-" * (ROWS - kept)
        whole = [line_of(outcome(index)) for index in range(kept)]
        assert lines_of(tmp_path / "out.jsonl.partial") == whole
        disk.room = 10**6
        append(journal, *range(kept, ROWS))
        staged, _ = staged_of(tmp_path, journal)
    assert lines_of(staged) == [line_of(outcome(index)) for index in range(ROWS)]
    with opened(tmp_path) as journal:
        assert (journal.answered, journal.damaged_lines) == (ROWS, 0)


@pytest.mark.parametrize("operation", ["fsync", "ftruncate"])
def test_any_other_refusal_of_the_disk_is_a_sentence_too(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path) as journal:
        monkeypatch.setattr(os, operation, refuse)
        with pytest.raises(StorageError, match="Input/output error"):
            (journal.sync if operation == "fsync" else journal.load_partial)()


def test_a_journal_that_can_not_be_opened_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.partial").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        Journal(JobPaths(tmp_path / "out.jsonl"), ROWS, "llmscale")


def test_the_memory_of_a_row_is_thirteen_bytes(tmp_path: Path) -> None:
    with opened(tmp_path, rows=1000) as journal:
        arrays = journal._places
        assert len(journal._states) + sum(len(a) * a.itemsize for a in arrays) == 13_000


def test_a_journal_that_was_truncated_is_a_sentence(tmp_path: Path) -> None:
    with opened(tmp_path, rows=2) as journal:
        append(journal, 0, 1)
        os.truncate(tmp_path / "out.jsonl.partial", 100)
        with pytest.raises(StorageError, match="has become shorter"):
            staged_of(tmp_path, journal)
