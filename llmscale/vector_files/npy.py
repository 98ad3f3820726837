"""`.npy`: a float32 matrix with a row for each line, NaN where the line failed.

The chunks are in the JSON lines of the same name beside it. Read by `numpy.load`, also with
`mmap_mode`. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.vectors import LITTLE_FLOAT32
from llmscale.vector_files import jsonl
from llmscale.vector_files.lines import ChunkRecord, Group, Matrix, VectorBlock, vector_of

_BLOCK_NUMBERS = 1 << 20


def check() -> None:
    """Do nothing: numpy is always installed."""


def write(groups: Iterable[Group], path: Path) -> None:
    """Write the matrix. The number of rows is written into the header at the end."""
    rows = length = 0
    with path.open("r+b") as file:
        for group in groups:
            if group.vectors is not None:
                if not length:
                    length = group.vectors.shape[1]
                    _write_head(file, 0, length)
                    _write_failed(file, rows, length)
                file.write(group.vectors.data)
            rows += len(group.chunks)
        file.seek(0)
        _write_head(file, rows, length)  # as long as the first: numpy reserves space for it


def blocks(path: Path) -> Iterator[VectorBlock]:
    """Yield the vectors in blocks, from a file that is mapped and not read as a whole."""
    beside, matrix = _opened(path)
    models = _first_model(beside)
    step = max(1, _BLOCK_NUMBERS // max(1, matrix.shape[1]))
    for first in range(0, len(matrix), step):
        rows = np.asarray(matrix[first : first + step], LITTLE_FLOAT32)
        there = np.flatnonzero(~np.isnan(rows).any(axis=1)) if rows.size else np.empty(0, np.int64)
        if there.size:
            yield VectorBlock(first + there, rows[there], models)


def chunks(path: Path, positions: Sequence[int]) -> dict[int, ChunkRecord]:
    """Return the chunks at these positions, from the lines beside the matrix."""
    return jsonl.chunks(_beside(path), positions)


def _write_head(file: IO[bytes], rows: int, length: int) -> None:
    shape = {"descr": LITTLE_FLOAT32.str, "fortran_order": False, "shape": (rows, length)}
    np.lib.format.write_array_header_1_0(file, shape)


def _write_failed(file: IO[bytes], rows: int, length: int) -> None:
    """Write the rows before the first vector, once its length is known."""
    row = np.full(length, np.nan, LITTLE_FLOAT32).tobytes()
    for _ in range(rows):
        file.write(row)


def _opened(path: Path) -> tuple[Path, Matrix]:
    """Return the lines beside a matrix, and the matrix."""
    beside = _beside(path)
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise StorageError(f"can't read {path}: {error}") from None
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise StorageError(f"can't read {path}: it is not a matrix of vectors")
    lines = jsonl.count(beside)
    if lines != len(matrix):
        raise StorageError(
            f"can't read {path}: it has {len(matrix)} rows, and {beside} {lines} lines; "
            "export it again"
        )
    return beside, matrix


def _beside(path: Path) -> Path:
    beside = path.with_suffix(".jsonl")
    if not beside.is_file():
        raise ConfigError(
            f"{path} holds numbers only, and the lines beside it are missing: {beside}"
        )
    return beside


def _first_model(beside: Path) -> frozenset[str]:
    """Return the model of the first vector; checking all would mean parsing all lines."""
    for line in jsonl.lines_of(beside):
        try:
            if vector_of(line) is not None:
                return frozenset({line["model"]} if isinstance(line.get("model"), str) else ())
        except ValueError as error:
            raise StorageError(f"can't read {beside}: {error}") from None
    return frozenset()
