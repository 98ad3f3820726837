"""`OUT.partial`: every finished row, appended as it comes, and where in the file each one lies.

Valid at any moment up to its last newline; a torn last line is cut when a run begins. In memory it
is nine bytes a row. Rows that an earlier, finished run answered stay in OUT and are found there.
"""

import contextlib
import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain, pairwise
from pathlib import Path
from typing import IO, Any

import orjson

from llmscale.errors import StorageError
from llmscale.formats import OutputFormat, encode, is_answered, is_own_line
from llmscale.job.files import JobFiles, open_private, stage, storage_error
from llmscale.stats import Spend

BLOCK_BYTES = 1024 * 1024
READAHEAD_BYTES = 32 * 1024  # more would be read in vain where rows lie far apart

_MISSING, _FAILED, _ANSWERED = 0, 1, 2


class Journal:
    """The finished rows of a job of `rows` rows. Raises `StorageError` throughout."""

    def __init__(self, files: JobFiles, rows: int, output_format: OutputFormat) -> None:
        self._files = files
        self._format = output_format
        self._states = bytearray(rows)
        self._places = array("q", bytes(8 * rows))  # offset + 1 in the journal, - in OUT
        self.kept_spend = Spend()  # of the rows found in the journal
        self.added_usd = 0.0  # the cost of the rows that were appended since
        self.damaged_lines = 0  # found in the journal, and to be asked again
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._descriptor = open_private(files.partial, flags)
        except OSError as error:
            raise storage_error(files.partial, error) from None
        self._end = 0
        self._lines_there = 0  # in the journal, damaged ones too

    @property
    def rows(self) -> int:
        """Rows of the job."""
        return len(self._states)

    @property
    def answered(self) -> int:
        """Rows that have an answer."""
        return self._states.count(_ANSWERED)

    @property
    def failed(self) -> int:
        """Rows whose last word is a failure."""
        return self._states.count(_FAILED)

    def has_answer(self, index: int) -> bool:
        """Tell whether a row is finished for good."""
        return self._states[index] == _ANSWERED

    def load_output(self) -> None:
        """Take over the rows of OUT, which lie there in input order."""
        for index, (offset, raw) in enumerate(lines_of(self._files.output)):
            if index < self.rows:
                self._note(index, -offset - 1, answered=is_answered(orjson.loads(raw)))

    def load_partial(self) -> None:
        """Take over the rows that earlier runs appended, and cut a torn last line."""
        self._end = 0
        for offset, raw in lines_of(self._files.partial):
            if not raw.endswith(b"\n"):
                break
            self._end = offset + len(raw)
            self._lines_there += 1
            line = self._journal_line(raw)
            if line is None:
                self.damaged_lines += 1
            else:
                self._note(line["index"], offset + 1, answered=line["error"] is None)
                self.kept_spend += _spend_of(line)
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            raise storage_error(self._files.partial, error) from None

    def append(self, lines: Sequence[dict[str, Any]]) -> None:
        """Add the lines of rows in one write. When this returns, they outlive the process."""
        encoded = [encode(line, "llmscale") for line in lines]
        unwritten = b"".join(encoded)
        end = self._end + len(unwritten)
        try:
            while unwritten:
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        except OSError as error:
            raise storage_error(self._files.partial, error) from None
        finally:
            end -= len(unwritten)
            for line, raw in zip(lines, encoded, strict=True):
                if self._end + len(raw) > end:
                    break
                self._note(line["index"], self._end + 1, answered=line["error"] is None)
                self._end += len(raw)
                self._lines_there += 1
                self.added_usd += line["cost_usd"] or 0.0
            if self._end < end:  # or the next line would be glued to half of one
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._end)

    def sync(self) -> None:
        """Make what is appended outlive a power loss too. Blocks; call it in a thread."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise storage_error(self._files.partial, error) from None

    def stage_output(self) -> tuple[Path, str]:
        """Write all rows in input order beside OUT; return the file and its SHA-256 in hex."""
        sha256 = hashlib.sha256()

        def write(file: IO[bytes]) -> None:
            for block in self._as_it_is() if self._is_in_order() else _blocks(self._ordered()):
                sha256.update(block)
                file.write(block)

        return stage(self._files.output, write), sha256.hexdigest()

    def close(self) -> None:
        """Close the file; it stays where it is."""
        os.close(self._descriptor)

    def _is_in_order(self) -> bool:
        """Tell whether the journal is the output, line for line."""
        if self._format == "openai-batch" or self._lines_there != self.rows:
            return False
        return all(before < after for before, after in pairwise(chain((0,), self._places)))

    def _as_it_is(self) -> Iterator[bytes]:
        with self._files.partial.open("rb") as journal:
            while block := journal.read(BLOCK_BYTES):
                yield block

    def _ordered(self) -> Iterator[bytes]:
        with ExitStack() as files:
            journal = earlier = files.enter_context(closing(_LinesAt(self._files.partial)))
            if any(place < 0 for place in self._places):
                earlier = files.enter_context(closing(_LinesAt(self._files.output)))
            for place in self._places:
                if place < 0:
                    yield earlier.read(-place - 1)
                else:
                    yield self._encoded(journal.read(place - 1))

    def _encoded(self, raw: bytes) -> bytes:
        """Return a line of the journal as the output has it."""
        return encode(orjson.loads(raw), self._format) if self._format == "openai-batch" else raw

    def _journal_line(self, raw: bytes) -> dict[str, Any] | None:
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
        if not is_own_line(line):
            return None
        index = line["index"]
        return line if isinstance(index, int) and 0 <= index < self.rows else None

    def _note(self, index: int, place: int, *, answered: bool) -> None:
        """Remember where a row lies. An answer is never replaced by a failure."""
        if answered or self._states[index] != _ANSWERED:
            self._states[index] = _ANSWERED if answered else _FAILED
            self._places[index] = place


class _LinesAt:
    """Lines of a file by where they begin; those that follow one another need no seek."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=READAHEAD_BYTES)
        self._at = 0

    def read(self, place: int) -> bytes:
        """Return the line that begins there."""
        if place != self._at:
            self._file.seek(place)
        raw = self._file.readline()
        self._at = place + len(raw)
        return raw

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Put lines together: a write and a digest of many cost little more than those of one."""
    block: list[bytes] = []
    size_bytes = 0
    for line in lines:
        block.append(line)
        size_bytes += len(line)
        if size_bytes >= BLOCK_BYTES:
            yield b"".join(block)
            block, size_bytes = [], 0
    if block:
        yield b"".join(block)


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, each with its offset. Raises `StorageError`."""
    offset = 0
    try:
        with path.open("rb") as file:
            for raw in file:
                yield offset, raw
                offset += len(raw)
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from None


def _spend_of(line: dict[str, Any]) -> Spend:
    attempts, usage, cost_usd = line["attempts"], line["usage"], line["cost_usd"]
    if not attempts or usage is None:  # from the cache, from another row's call, or not paid for
        return Spend(attempts)
    return Spend(
        attempts,
        usage["input_tokens"],
        usage["output_tokens"],
        cost_usd or 0.0,
        int(cost_usd is None),
    )
