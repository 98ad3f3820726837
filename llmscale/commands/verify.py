"""Is every input row in the output exactly once? Reads both anew and trusts no file of the job.

Memory: nine bytes a row; more where a batch output is not in input order.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.output_line import is_answered, is_batch_line
from llmscale.rows.row_parser import row_id_of
from llmscale.rows.sources import Source, blocks_of_lines

MAX_EXAMPLES = 10


class Verdict(NamedTuple):
    """Counts of rows, and examples of what is wrong with them."""

    rows: int  # of the input
    answered: int
    failed: int  # there, but with an error in the place of an answer
    missing: int
    duplicated: int
    unknown: int  # lines of the output that belong to no row of the input
    unreadable: int  # lines of the output that are no row at all
    examples: list[str]

    @property
    def is_complete(self) -> bool:
        """Tell whether every row is there exactly once, and nothing else is."""
        return not (self.missing or self.duplicated or self.unknown or self.unreadable)


def verify(sources: Sequence[Source], output: Path) -> Verdict:
    """Hold an output, in either format, against its input.

    Raises `ConfigError` where there is no output, `StorageError` where a file can't be read.
    """
    try:
        is_there = output.is_file()
    except OSError:  # longer than a name can be
        is_there = False
    if not is_there:
        raise ConfigError(f"there is no output {output}")
    expected = _Expected(sources)
    answered = failed = duplicated = unknown = unreadable = 0
    examples: list[str] = []
    for number, line in _lines_of(output):
        complaint = None
        index = expected.index_of(number - 1, line) if line is not None else None
        if line is None:
            unreadable += 1
            complaint = "is no row"
        elif index is None:
            unknown += 1
            row_id = line.get("custom_id", line.get("id"))
            complaint = f"belongs to no row of the input (id {row_id!r})"
        elif expected.tick_off(index):
            duplicated += 1
            complaint = f"is row {index} once more"
        elif is_answered(line):
            answered += 1
        else:
            failed += 1
        if complaint and len(examples) < MAX_EXAMPLES:
            examples.append(f"{output} line {number} {complaint}")
    missing = expected.first_missing(MAX_EXAMPLES - len(examples))
    examples += [f"row {index} is missing" for index in missing]
    return Verdict(
        rows=expected.rows,
        answered=answered,
        failed=failed,
        missing=expected.missing(),
        duplicated=duplicated,
        unknown=unknown,
        unreadable=unreadable,
        examples=examples,
    )


class _Expected:
    """The rows of the input, to be ticked off."""

    def __init__(self, sources: Sequence[Source]) -> None:
        lines = (line for block in blocks_of_lines(sources) for line in block)
        self._ids = array("q", (_hash(row_id_of(line.raw)) for line in lines))
        self._seen = bytearray(len(self._ids))
        self._by_id: defaultdict[int, list[int]] | None = None

    @property
    def rows(self) -> int:
        """Rows of the input."""
        return len(self._ids)

    def index_of(self, position: int, line: dict[str, Any]) -> int | None:
        """Return the row that an output line is of, None where it is of none.

        A line of ours says which; one of a batch output is first looked for where it stands.
        """
        is_batch = is_batch_line(line)
        index = position if is_batch else line.get("index")
        row_id = _hash(line.get("custom_id") if is_batch else line.get("id"))
        if isinstance(index, int) and 0 <= index < self.rows and self._ids[index] == row_id:
            # in a batch output, rows with one id may have changed places
            return index if not (is_batch and self._seen[index]) else self._next_with(row_id)
        return self._next_with(row_id) if is_batch else None

    def tick_off(self, index: int) -> bool:
        """Note that a row is there; tell whether it was there before."""
        before = self._seen[index]
        self._seen[index] = 1
        return bool(before)

    def missing(self) -> int:
        """Return how many rows were not there."""
        return self._seen.count(0)

    def first_missing(self, most: int) -> list[int]:
        """Return the first rows that were not there."""
        return list(islice((i for i, seen in enumerate(self._seen) if not seen), most))

    def _next_with(self, row_id: int) -> int | None:
        """Return a row with this id, one that is not ticked off where there is one."""
        if self._by_id is None:
            self._by_id = defaultdict(list)
            for index, known in enumerate(self._ids):
                self._by_id[known].append(index)
        rows = self._by_id.get(row_id, [])
        return next((index for index in rows if not self._seen[index]), rows[0] if rows else None)


def _lines_of(output: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield each line with its number; None for one that is no row."""
    try:
        with output.open("rb") as file:
            for number, raw in enumerate(file, 1):
                yield number, _row(raw)
    except OSError as error:
        raise StorageError(f"can't read {output}: {error.strerror}") from None


def _row(raw: bytes) -> dict[str, Any] | None:
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    is_row = isinstance(line, dict) and ("index" in line or "custom_id" in line)
    return line if is_row and raw.endswith(b"\n") else None


def _hash(row_id: str | int | None) -> int:
    """A batch output has every id as text."""
    return 0 if row_id is None else hash(str(row_id))
