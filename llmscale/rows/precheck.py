"""One pass over the input before a run: its digests, its rows, and whether ids are unique.

Memory: 24 bytes for each row that has an id.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from llmscale.core.errors import ConfigError
from llmscale.core.json_text import loads
from llmscale.rows.row_parser import row_id_of
from llmscale.rows.sources import Line, Source, blocks_of_lines, digest

_BUCKETS = 16  # ids are compared a sixteenth at a time, so that the set of them is small


class Precheck(NamedTuple):
    """The result of the pass."""

    rows: int
    is_batch: bool  # the first row is a line of an OpenAI batch file
    digests: list[str]  # SHA-256 of each source, in hex


def precheck(sources: Sequence[Source], limit: int | None = None) -> Precheck:
    """Count and digest the input. Raises `ConfigError` when one id stands for two different rows.

    `limit`: of the rows; digests are of whole files.
    """
    ids, contents, indexes = array("q"), array("q"), array("Q")
    digests: dict[str, str] = {}
    rows = 0
    is_batch = False
    for lines in _first(limit, sources, digests):
        if rows == 0:
            is_batch = is_batch_line(lines[0])
        for index, line in enumerate(lines, rows):
            raw = line.raw
            if raw is not None and b'id"' in raw and (b'"id"' in raw or b'"custom_id"' in raw):
                row_id = row_id_of(raw)
                if row_id is not None:
                    ids.append(hash(repr(row_id)))
                    contents.append(hash(raw.strip()))
                    indexes.append(index)
        rows += len(lines)
    clash = _clash(ids, contents)
    if clash is not None:
        first, second = (_nth(sources, indexes[i]) for i in clash)
        raise ConfigError(
            f"two different rows have the id {row_id_of(second.raw)!r}: {first.source} line "
            f"{first.number} and {second.source} line {second.number}; give each row its own id"
        )
    found = [digests.get(source.path) or digest(source) for source in sources]
    return Precheck(rows, is_batch, found)


def is_batch_line(line: Line) -> bool:
    """Tell whether a line is one of an OpenAI batch file."""
    return line.raw is not None and b'"body"' in line.raw and "body" in _fields(line.raw)


def _first(
    limit: int | None, sources: Sequence[Source], digests: dict[str, str] | None = None
) -> Iterator[list[Line]]:
    left = limit
    for lines in blocks_of_lines(sources, digests=digests):
        if left is not None and left <= len(lines):
            if left:
                yield lines[:left]
            return
        yield lines
        left = None if left is None else left - len(lines)


def _nth(sources: Sequence[Source], index: int) -> Line:
    return next(islice(chain.from_iterable(_first(None, sources)), index, None))


def _fields(raw: bytes | None) -> dict[str, Any]:
    try:
        fields = loads(raw or b"")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _clash(ids: "array[int]", contents: "array[int]") -> tuple[int, int] | None:
    """Return the positions of two entries with the same id and different contents."""
    for bucket in range(_BUCKETS):
        seen: dict[int, int] = {}
        for place, row_id in enumerate(ids):
            if row_id % _BUCKETS != bucket:
                continue
            first = seen.setdefault(row_id, place)
            if first != place and contents[first] != contents[place]:
                return first, place
    return None
