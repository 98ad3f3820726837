"""`.parquet`: a row for each line, with the vector as a fixed-size list of float32.

Needs the extra `parquet`. `id` is text, `error` is JSON or null. The vector of a failed line is
NaN and not null: pyarrow before 26 writes a null among fixed-size lists, but can't read it (https://github.com/apache/arrow/issues/35692).
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from msgspec.structs import astuple

from llmscale.core.errors import ConfigError, StorageError
from llmscale.vector_files.lines import COLUMNS, ChunkRecord, Group, Matrix, VectorBlock

_BLOCK_ROWS = 4096


def check() -> None:
    """Raise `ConfigError` where the extra is missing."""
    _pyarrow()


def write(groups: Iterable[Group], path: Path) -> None:
    """Write a row group for each group of lines."""
    pa, pq = _pyarrow()
    remaining = iter(groups)
    with tempfile.TemporaryFile(dir=path.parent) as waiting:
        first = _set_aside_failed(remaining, waiting)
        # 1 without any vector: lists without numbers can't be read
        length = 1 if first is None or first.vectors is None else first.vectors.shape[1]
        kind = pa.list_(pa.float32(), length)
        schema = _facts(pa).append(pa.field("vector", kind, nullable=False))
        with pq.ParquetWriter(path, schema) as writer:
            for batch in pa.ipc.open_stream(waiting):
                nothing = np.full((len(batch), length), np.nan, np.float32)
                columns = [*batch.columns, _lists(nothing, kind)]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            for group in chain([first] if first else [], remaining):
                writer.write_batch(_batch(group, schema))


def blocks(path: Path) -> Iterator[VectorBlock]:
    """Yield the vectors in blocks. Raises `StorageError`."""
    with _opened(path) as file:
        if not file.num_row_groups:  # older releases fail to iterate over none
            return
        length = file.schema_arrow.field("vector").type.list_size
        first = 0
        for batch in file.iter_batches(_BLOCK_ROWS, columns=["vector", "model"]):
            numbers = batch.column("vector").flatten().to_numpy().reshape(len(batch), length)
            there = np.flatnonzero(~np.isnan(numbers).any(axis=1))
            if there.size:
                models = batch.column("model").take(there).unique().to_pylist()
                known = frozenset(model for model in models if model is not None)
                yield VectorBlock(first + there, numbers[there], known)
            first += len(batch)


def chunks(path: Path, positions: Sequence[int]) -> dict[int, ChunkRecord]:
    """Return the chunks at these positions; only the row groups that hold them are read."""
    found: dict[int, ChunkRecord] = {}
    with _opened(path) as file:
        first = 0
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            here = [position for position in positions if first <= position < first + rows]
            if here:
                table = file.read_row_group(number, columns=list(COLUMNS))
                taken = table.take([position - first for position in here]).to_pylist()
                found |= {at: ChunkRecord(**facts) for at, facts in zip(here, taken, strict=True)}
            first += rows
    return found


def _set_aside_failed(groups: Iterator[Group], waiting: IO[bytes]) -> Group | None:
    """Return the first group with a vector, and spool those before it to a file.

    A row can't be written before the length of a vector is known; there may be a million of them.
    """
    pa, _ = _pyarrow()
    first = None
    with pa.ipc.new_stream(waiting, _facts(pa)) as stream:
        for group in groups:
            if group.vectors is not None:
                first = group
                break
            stream.write_batch(_batch(group, _facts(pa)))
    waiting.seek(0)
    return first


def _batch(group: Group, schema: Any) -> Any:
    pa, _ = _pyarrow()
    columns = [
        pa.array(values, schema.field(name).type)
        for name, values in zip(COLUMNS, zip(*map(astuple, group.chunks), strict=True), strict=True)
    ]
    if group.vectors is not None:
        columns.append(_lists(group.vectors, schema.field("vector").type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _lists(matrix: Matrix, kind: Any) -> Any:
    pa, _ = _pyarrow()
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), type=kind)


def _facts(pa: Any) -> Any:
    """Return the columns beside the vector."""
    numbers = {"index", "start", "end"}
    return pa.schema([(n, pa.int64() if n in numbers else pa.string()) for n in COLUMNS])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file that has the columns of `write`. Raises `StorageError`."""
    pa, pq = _pyarrow()
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            missing = {"vector", *COLUMNS} - set(schema.names)
            if missing or not pa.types.is_fixed_size_list(schema.field("vector").type):
                raise StorageError(f"can't read {path}: llmscale embed did not write it")
            yield file
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"can't read {path}: {error}") from None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError('.parquet files need an extra: pip install "llmscale[parquet]"') from None
    return pa, pq
