"""`llmscale verify`: checks that every input row is in the output exactly once.

Reads input and output again and trusts no other file of the job. Memory: nine bytes per row; more
if a batch output is not in input order.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.json_text import loads
from llmscale.core.output_line import is_answered, is_batch_line
from llmscale.rows.row_parser import row_id_of
from llmscale.rows.sources import Source, blocks_of_lines

MAX_EXAMPLES = 10

_Line = dict[str, Any]
_Finding = Literal["answered", "failed", "duplicated", "unknown", "unreadable"]


class VerifyResult(NamedTuple):
    """Counts of rows, and examples of problems."""

    rows: int  # of the input
    answered: int
    failed: int  # in the output, with an error
    missing: int
    duplicated: int
    unknown: int  # lines of the output that match no row of the input
    unreadable: int  # lines of the output that can't be parsed
    examples: list[str]

    @property
    def is_complete(self) -> bool:
        """Tell whether the output has every row exactly once, and nothing else."""
        return not (self.missing or self.duplicated or self.unknown or self.unreadable)


def verify(sources: Sequence[Source], output: Path) -> VerifyResult:
    """Compare an output, in either format, with its input.

    Raises `ConfigError` if there is no output, `StorageError` if a file can't be read.
    """
    _require_file(output)
    expected = _Expected(sources)
    found: Counter[_Finding] = Counter()
    examples: list[str] = []
    for number, line in _lines_of(output):
        finding, problem = expected.check(number - 1, line)
        found[finding] += 1
        if problem and len(examples) < MAX_EXAMPLES:
            examples.append(f"{output} line {number} {problem}")
    missing = expected.first_missing(MAX_EXAMPLES - len(examples))
    return VerifyResult(
        rows=expected.rows,
        answered=found["answered"],
        failed=found["failed"],
        missing=expected.missing(),
        duplicated=found["duplicated"],
        unknown=found["unknown"],
        unreadable=found["unreadable"],
        examples=[*examples, *(f"row {index} is missing" for index in missing)],
    )


def _require_file(output: Path) -> None:
    try:
        is_file = output.is_file()
    except OSError:  # the name is too long
        is_file = False
    if not is_file:
        raise ConfigError(f"output {output} does not exist")


class _Expected:
    """The rows of the input, checked off as they are found."""

    def __init__(self, sources: Sequence[Source]) -> None:
        lines = (line for block in blocks_of_lines(sources) for line in block)
        self._ids = array("q", (_hash(row_id_of(line.raw)) for line in lines))
        self._seen = bytearray(len(self._ids))
        self._by_id: defaultdict[int, list[int]] | None = None

    @property
    def rows(self) -> int:
        """Number of rows of the input."""
        return len(self._ids)

    def check(self, position: int, line: _Line | None) -> tuple[_Finding, str | None]:
        """Check off the row that a line of the output matches; return what was found.

        `position`: of the line; `line`: None for one that can't be parsed.
        """
        if line is None:
            return "unreadable", "is not a valid row"
        index = self._index_of(position, line)
        if index is None:
            row_id = line.get("custom_id", line.get("id"))
            return "unknown", f"matches no row of the input (id {row_id!r})"
        if self._seen[index]:
            return "duplicated", f"repeats row {index}"
        self._seen[index] = 1
        return ("answered" if is_answered(line) else "failed"), None

    def missing(self) -> int:
        """Return how many rows were not found."""
        return self._seen.count(0)

    def first_missing(self, limit: int) -> list[int]:
        """Return the first rows that were not found."""
        return list(islice((i for i, seen in enumerate(self._seen) if not seen), limit))

    def _index_of(self, position: int, line: _Line) -> int | None:
        """Return the row that a line of the output matches; None if it matches none.

        Our own lines have an index; a line of a batch output is tried at its position first.
        """
        is_batch = is_batch_line(line)
        index = position if is_batch else line.get("index")
        row_id = _hash(line.get("custom_id") if is_batch else line.get("id"))
        if isinstance(index, int) and 0 <= index < self.rows and self._ids[index] == row_id:
            # in a batch output, rows with equal ids may be swapped
            return index if not (is_batch and self._seen[index]) else self._next_with(row_id)
        return self._next_with(row_id) if is_batch else None

    def _next_with(self, row_id: int) -> int | None:
        """Return a row with this id, preferably one that was not found yet."""
        if self._by_id is None:
            self._by_id = defaultdict(list)
            for index, known in enumerate(self._ids):
                self._by_id[known].append(index)
        rows = self._by_id.get(row_id, [])
        return next((index for index in rows if not self._seen[index]), rows[0] if rows else None)


def _lines_of(output: Path) -> Iterator[tuple[int, _Line | None]]:
    """Yield each line with its number; None for one that can't be parsed."""
    try:
        with output.open("rb") as file:
            for number, raw in enumerate(file, 1):
                yield number, _row(raw)
    except OSError as error:
        raise StorageError(f"can't read {output}: {error.strerror}") from None


def _row(raw: bytes) -> _Line | None:
    try:
        line = loads(raw)
    except ValueError:
        return None
    is_row = isinstance(line, dict) and ("index" in line or "custom_id" in line)
    return line if is_row and raw.endswith(b"\n") else None


def _hash(row_id: str | int | None) -> int:
    """Hash an id as text, which a batch output turns every id into."""
    return 0 if row_id is None else hash(str(row_id))
