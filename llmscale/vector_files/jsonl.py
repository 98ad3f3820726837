"""JSON lines, as `llmscale embed` writes them; read here, never written."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmscale.core.errors import StorageError
from llmscale.core.json_text import loads
from llmscale.vector_files.lines import ChunkRecord, VectorBlock, chunk_of, groups


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the parsed lines. Raises `StorageError` for a line that is not an object, naming it."""
    for number, raw in enumerate(_raw_lines(path), 1):
        yield _parsed(path, number, raw)


def blocks(path: Path) -> Iterator[VectorBlock]:
    """Yield the vectors in blocks. Raises `StorageError`."""
    first = 0
    for group in groups(lines_of(path), f"can't read {path}"):
        there = np.flatnonzero(~group.failed)
        if group.vectors is not None and there.size:
            models = frozenset(m for at in there if (m := group.chunks[at].model) is not None)
            yield VectorBlock(first + there, group.vectors[there], models)
        first += len(group.chunks)


def chunks(path: Path, positions: Sequence[int]) -> dict[int, ChunkRecord]:
    """Return the chunks at these positions; lines between them are not parsed."""
    wanted = set(positions)
    found: dict[int, ChunkRecord] = {}
    for position, raw in enumerate(_raw_lines(path)):
        if len(found) == len(wanted):
            break
        if position in wanted:
            found[position] = chunk_of(_parsed(path, position + 1, raw), position)
    return found


def count(path: Path) -> int:
    """Return how many lines there are. Raises `StorageError`."""
    return sum(1 for _ in _raw_lines(path))


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror or error}") from None


def _parsed(path: Path, number: int, raw: bytes) -> dict[str, Any]:
    try:
        line = loads(raw)
    except ValueError:
        line = None
    if not isinstance(line, dict):
        raise StorageError(f"can't read {path}: line {number} is not a JSON object")
    return line
