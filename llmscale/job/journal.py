"""`OUT.partial`: the finished rows in completion order, and the offset of each.

Valid at any moment up to its last newline; a torn last line is cut when a run starts. Memory: 13
bytes a row. Rows that an earlier, finished run answered stay in OUT and are found there.
"""

import contextlib
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmscale.accounting.stats import Spend
from llmscale.core.atomic_file import open_private, storage_error, sync_folder
from llmscale.core.choices import OutputFormat
from llmscale.core.disk_sync import sync_descriptor
from llmscale.core.errors import StorageError
from llmscale.core.json_text import loads
from llmscale.core.output_line import encode, is_answered, is_own_line
from llmscale.job.input_order import Places, in_order
from llmscale.job.job_paths import JobPaths

_MISSING, _FAILED, _ANSWERED, _FAILED_EARLIER = range(4)


class Journal:
    """The finished rows of a job of `rows` rows. Raises `StorageError` throughout."""

    def __init__(self, files: JobPaths, rows: int, output_format: OutputFormat) -> None:
        self._files = files
        self._format = output_format
        self._states = bytearray(rows)
        self._places = Places(array("q", bytes(8 * rows)), array("I", bytes(4 * rows)))
        self.resumed_spend = Spend()  # of the rows found in the journal
        self.added_usd = 0.0  # the cost of the rows that were appended since
        self.damaged_lines = 0  # found in the journal; their rows are retried
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._descriptor = open_private(files.partial, flags)
            sync_folder(files.partial.parent)  # or its name may not outlive a power loss
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
        """Rows that ended in a failure."""
        return self._states.count(_FAILED) + self._states.count(_FAILED_EARLIER)

    @property
    def size_bytes(self) -> int:
        """How large the journal is."""
        return self._end

    def has_answer(self, index: int) -> bool:
        """Tell whether a row is finished for good."""
        return self._states[index] == _ANSWERED

    def first_open(self, first: int) -> int:
        """Return the first row from `first` on that is not done in this run; `rows` if none."""
        found = [self._states.find(state, first) for state in (_MISSING, _FAILED_EARLIER)]
        return min((index for index in found if index >= 0), default=self.rows)

    def size_of(self, rows: range) -> int:
        """Return how many bytes the lines of rows have."""
        return sum(self._places.of(rows).sizes)

    def in_order(self, rows: range) -> Iterator[bytes]:
        """Yield rows in input order, in the format of the output, in blocks. Raises `OSError`."""
        files = self._files
        return in_order(files.partial, files.output, self._places, rows, self._format)

    def load_output(self) -> None:
        """Take over the rows of OUT, which are in input order."""
        for index, (offset, raw) in enumerate(lines_of(self._files.output)):
            if index < self.rows:
                state = _ANSWERED if is_answered(loads(raw)) else _FAILED_EARLIER
                self._note(index, -offset - 1, len(raw), state)

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
                state = _ANSWERED if line["error"] is None else _FAILED_EARLIER
                self._note(line["index"], offset + 1, len(raw), state)
                self.resumed_spend += _spend_of(line)
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            raise storage_error(self._files.partial, error) from None

    def append(self, lines: Sequence[dict[str, Any]]) -> None:
        """Add the lines of rows in one write. When this returns, they survive the process."""
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
                state = _ANSWERED if line["error"] is None else _FAILED
                self._note(line["index"], self._end + 1, size, state)
                self._end += size
                self.added_usd += line["cost_usd"] or 0.0
            if self._end < end:  # or the next line would be glued to half of one
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._end)

    def sync(self) -> None:
        """Flush to the disk, to survive a power loss too. Blocks; call it in a thread."""
        try:
            sync_descriptor(self._descriptor)
        except OSError as error:
            raise storage_error(self._files.partial, error) from None

    def close(self) -> None:
        """Close the file, and leave it there."""
        os.close(self._descriptor)

    def _journal_line(self, raw: bytes) -> dict[str, Any] | None:
        try:
            line = loads(raw)
        except ValueError:
            return None
        if not is_own_line(line):
            return None
        index = line["index"]
        return line if isinstance(index, int) and 0 <= index < self.rows else None

    def _note(self, index: int, offset: int, size: int, state: int) -> None:
        """Remember the place of a row. A failure never replaces an answer."""
        if state == _ANSWERED or self._states[index] != _ANSWERED:
            self._places.offsets[index] = offset
            self._places.sizes[index] = size
            self._states[index] = state  # last, since another thread reads it


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
    if not attempts or usage is None:  # cached, deduplicated, or free
        return Spend(attempts)
    return Spend(
        attempts,
        usage["input_tokens"],
        usage["output_tokens"],
        cost_usd or 0.0,
        int(cost_usd is None),
    )
