"""`OUT.partial`: every finished row, appended as it comes, and where in the file each one lies.

Valid at any moment up to its last newline; a torn last line is cut when a run begins. In memory it
is 13 bytes a row. Rows that an earlier, finished run answered stay in OUT and are found there.
"""

import contextlib
import errno
import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import orjson

from llmscale.errors import StorageError
from llmscale.formats import OutputFormat, encode, is_answered, is_own_line
from llmscale.job.files import JobFiles, open_private, stage, storage_error
from llmscale.stats import Spend

BLOCK_BYTES = 1024 * 1024

_MISSING, _FAILED, _ANSWERED = 0, 1, 2


class Journal:
    """The finished rows of a job of `rows` rows. Raises `StorageError` throughout."""

    def __init__(self, files: JobFiles, rows: int, output_format: OutputFormat) -> None:
        self._files = files
        self._format = output_format
        self._states = bytearray(rows)
        self._places = array("q", bytes(8 * rows))  # offset + 1 in the journal, - in OUT
        self._sizes = array("I", bytes(4 * rows))  # of the lines that lie there
        self.kept_spend = Spend()  # of the rows found in the journal
        self.added_usd = 0.0  # the cost of the rows that were appended since
        self.damaged_lines = 0  # found in the journal, and to be asked again
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._descriptor = open_private(files.partial, flags)
        except OSError as error:
            raise storage_error(files.partial, error) from None
        self._end = 0

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
                answered = is_answered(orjson.loads(raw))
                self._note(index, -offset - 1, len(raw), answered=answered)

    def load_partial(self) -> None:
        """Take over the rows that earlier runs appended, and cut a torn last line."""
        self._end = 0
        for offset, raw in lines_of(self._files.partial):
            if not raw.endswith(b"\n"):
                break
            self._end = offset + len(raw)
            line = self._journal_line(raw)
            if line is None:
                self.damaged_lines += 1
            else:
                answered = line["error"] is None
                self._note(line["index"], offset + 1, len(raw), answered=answered)
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
                size = len(raw)
                if self._end + size > end:
                    break
                self._note(line["index"], self._end + 1, size, answered=line["error"] is None)
                self._end += size
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
            for block in self._in_order():
                sha256.update(block)
                file.write(block)

        return stage(self._files.output, write), sha256.hexdigest()

    def close(self) -> None:
        """Close the file; it stays where it is."""
        os.close(self._descriptor)

    def _in_order(self) -> Iterator[bytes]:
        """Yield all rows as the output has them."""
        with ExitStack() as files:
            journal = earlier = files.enter_context(self._files.partial.open("rb"))
            if any(place < 0 for place in self._places):
                earlier = files.enter_context(self._files.output.open("rb"))
            for place, size in self._runs():
                if place < 0:
                    yield from _pieces(earlier, -place - 1, size)
                elif self._format == "openai-batch":
                    line = orjson.loads(b"".join(_pieces(journal, place - 1, size)))
                    yield encode(line, self._format)
                else:
                    yield from _pieces(journal, place - 1, size)

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Yield place and size of the rows in input order; those that lie one after the other are
        one, unless each has to be encoded.
        """
        are_joined = self._format != "openai-batch"
        first = following = size_of_run = 0
        for place, size in zip(self._places, self._sizes, strict=True):
            if place != following or not are_joined:
                if size_of_run:
                    yield first, size_of_run
                first, size_of_run = place, 0
            size_of_run += size
            following = place + size if place > 0 else place - size
        if size_of_run:
            yield first, size_of_run

    def _journal_line(self, raw: bytes) -> dict[str, Any] | None:
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
        if not is_own_line(line):
            return None
        index = line["index"]
        return line if isinstance(index, int) and 0 <= index < self.rows else None

    def _note(self, index: int, place: int, size: int, *, answered: bool) -> None:
        """Remember where a row lies. An answer is never replaced by a failure."""
        if answered or self._states[index] != _ANSWERED:
            self._states[index] = _ANSWERED if answered else _FAILED
            self._places[index] = place
            self._sizes[index] = size


def _pieces(file: IO[bytes], offset: int, size: int) -> Iterator[bytes]:
    """Read a part of a file, in blocks. Raises `OSError` where it is not there."""
    while size:
        piece = os.pread(file.fileno(), min(size, BLOCK_BYTES), offset)
        if not piece:
            raise OSError(errno.EIO, "a file of the job has become shorter")
        yield piece
        offset += len(piece)
        size -= len(piece)


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
