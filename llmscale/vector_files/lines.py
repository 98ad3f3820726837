"""The values of exports and their readers: chunks, groups to write, blocks that were read.

A line is a parsed output line of `llmscale embed`. A group is bounded in lines and in bytes, so
that memory does not grow with the output; the numbers of a line become float32 at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson

from llmscale.core.errors import StorageError
from llmscale.core.vectors import LITTLE_FLOAT32, Vector, from_base64, numbers_of

GROUP_LINES = 8192
GROUP_BYTES = 16 * 1024 * 1024  # of vectors and texts

Matrix = np.ndarray[Any, np.dtype[np.float32]]
Positions = np.ndarray[Any, np.dtype[np.int64]]

_INT64 = 1 << 63


class ChunkRecord(msgspec.Struct, frozen=True, gc=False):
    """A line without its vector; the columns of the formats that have columns."""

    id: str | None
    index: int
    source: str | None
    start: int | None
    end: int | None
    text: str | None
    model: str | None
    error: str | None  # JSON


COLUMNS = ChunkRecord.__struct_fields__


class Group(NamedTuple):
    """Consecutive lines."""

    chunks: list[ChunkRecord]
    vectors: Matrix | None  # a row for each, NaN where it failed; None: there was no vector so far
    failed: np.ndarray[Any, np.dtype[np.bool_]]


class VectorBlock(NamedTuple):
    """Vectors that were read; those of failed lines are left out."""

    positions: Positions  # of the lines, from 0
    vectors: Matrix
    models: frozenset[str]  # of the vectors, as far as the format can tell


def groups(lines: Iterable[Mapping[str, Any]], what_fails: str) -> Iterator[Group]:
    """Yield the lines in groups.

    Raises `StorageError` for an invalid vector and for one of another length than the first, naming
    the line after the words `what_fails`.
    """
    builder = _GroupBuilder(what_fails)
    for number, line in enumerate(lines, 1):
        builder.add(number, line)
        if builder.is_full:
            yield builder.taken()
    if builder.chunks:
        yield builder.taken()


class _GroupBuilder:
    """Collects lines into a group."""

    def __init__(self, what_fails: str) -> None:
        self.chunks: list[ChunkRecord] = []
        self._vectors: list[Vector | None] = []
        self._bytes = 0
        self._first = 1  # the number of the first line
        self._length: int | None = None  # of the first vector
        self._what_fails = what_fails

    @property
    def is_full(self) -> bool:
        """Tell whether the group has reached its bounds."""
        return len(self.chunks) >= GROUP_LINES or self._bytes >= GROUP_BYTES

    def add(self, number: int, line: Mapping[str, Any]) -> None:
        """Add a line. Raises `StorageError`."""
        try:
            vector = vector_of(line)
        except ValueError as error:
            raise self._fault(number, str(error)) from None
        if vector is not None:
            self._length = self._length or vector.size
            if vector.size != self._length:
                raise self._fault(
                    number, f"has a vector of {vector.size} numbers, the first has {self._length}"
                )
            self._bytes += vector.nbytes
        chunk = chunk_of(line, number - 1)
        self._bytes += len(chunk.text or "")
        self.chunks.append(chunk)
        self._vectors.append(vector)

    def taken(self) -> Group:
        """Return the group and start the next."""
        failed = np.array([vector is None for vector in self._vectors])
        matrix = None
        if self._length is not None:
            matrix = np.full((len(failed), self._length), np.nan, LITTLE_FLOAT32)
            present = [vector for vector in self._vectors if vector is not None]
            if present:
                matrix[~failed] = np.stack(present)
            self._check(matrix, failed)
        group = Group(self.chunks, matrix, failed)
        self._first += len(self.chunks)
        self.chunks, self._vectors, self._bytes = [], [], 0
        return group

    def _check(self, matrix: Matrix, failed: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        sound = np.isfinite(matrix).all(axis=1) & matrix.any(axis=1)
        unsound = np.flatnonzero(~sound & ~failed)
        if unsound.size:
            raise self._fault(self._first + int(unsound[0]), "has a vector of zeros or no numbers")

    def _fault(self, number: int, what: str) -> StorageError:
        return StorageError(f"{self._what_fails}: line {number} {what}")


def vector_of(line: Mapping[str, Any]) -> Vector | None:
    """Return the vector of a line, None where it failed. Raises `ValueError` with a sentence."""
    if "vector" not in line:
        raise ValueError("has no field vector; is this an output of llmscale embed?")
    value = line["vector"]
    if value is None:
        return None
    try:
        vector = numbers_of(from_base64(value)) if isinstance(value, str) else _from_numbers(value)
    except ValueError:
        raise ValueError("has a vector that is neither numbers nor base64 of float32") from None
    if not vector.size:
        raise ValueError("has a vector without numbers")
    return vector


def _from_numbers(value: Any) -> Vector:
    numbers = np.array(value)  # raises ValueError where lists in it differ in length
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iuf"):
        raise ValueError
    with np.errstate(over="ignore"):  # too large a number becomes infinite, and is refused as such
        return numbers.astype(LITTLE_FLOAT32)


def chunk_of(line: Mapping[str, Any], position: int) -> ChunkRecord:
    """Return a line without its vector; a field of the wrong type is None."""
    index, chunk_id, error = _int(line.get("index")), line.get("id"), line.get("error")
    return ChunkRecord(
        id=None if chunk_id is None else str(chunk_id),
        index=position if index is None else index,
        source=_text(line.get("source")),
        start=_int(line.get("start")),
        end=_int(line.get("end")),
        text=_text(line.get("text")),
        model=_text(line.get("model")),
        error=None if error is None else orjson.dumps(error).decode(),
    )


def _int(value: Any) -> int | None:
    return value if type(value) is int and -_INT64 <= value < _INT64 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
