"""One look at the whole input before anything is sent: how many rows, and whether they can be told
apart.

Memory: 24 bytes for each row that has an id.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from llmscale.errors import ConfigError
from llmscale.reader.sources import Line, blocks_of_lines

_BUCKETS = 16  # ids are compared a sixteenth at a time, to keep the set of them small


class Survey(NamedTuple):
    """What is known of the input before the first call."""

    rows: int
    is_batch: bool  # the first row is a line of an OpenAI batch file


def survey(paths: Sequence[str], limit: int | None = None) -> Survey:
    """Count the rows. Raises `ConfigError` when one id stands for two different rows."""
    ids, contents, indexes = array("q"), array("q"), array("Q")
    rows = 0
    is_batch = False
    for line in _first(limit, paths):
        raw = line.raw
        if rows == 0:
            is_batch = b'"body"' in (raw or b"") and "body" in _fields(raw)
        if raw is not None and (b'"id"' in raw or b'"custom_id"' in raw):
            fields = _fields(raw)
            row_id = fields.get("custom_id", fields.get("id"))
            if row_id is not None:
                ids.append(hash(repr(row_id)))
                contents.append(hash(raw.strip()))
                indexes.append(rows)
        rows += 1
    clash = _clash(ids, contents)
    if clash is not None:
        first, second = (_nth(paths, indexes[i]) for i in clash)
        row_id = _fields(second.raw).get("custom_id", _fields(second.raw).get("id"))
        raise ConfigError(
            f"two different rows have the id {row_id!r}: {first.source} line {first.number} and "
            f"{second.source} line {second.number}; give each its own"
        )
    return Survey(rows, is_batch)


def _first(limit: int | None, paths: Sequence[str]) -> Iterator[Line]:
    taken = 0
    for lines in blocks_of_lines(paths):
        for line in lines:
            if taken == limit:
                return
            taken += 1
            yield line


def _nth(paths: Sequence[str], index: int) -> Line:
    return next(line for i, line in enumerate(_first(None, paths)) if i == index)


def _fields(raw: bytes | None) -> dict[str, Any]:
    try:
        fields = orjson.loads(raw or b"")
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _clash(ids: "array[int]", contents: "array[int]") -> tuple[int, int] | None:
    """Return the places of two entries with one id and different contents."""
    for bucket in range(_BUCKETS):
        seen: dict[int, int] = {}
        for place, row_id in enumerate(ids):
            if row_id % _BUCKETS != bucket:
                continue
            first = seen.setdefault(row_id, place)
            if first != place and contents[first] != contents[place]:
                return first, place
    return None
