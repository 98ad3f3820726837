"""`.parquet`: a row for each line, with the vector as a fixed-size list of float32.

Needs the extra `parquet`. `id` is text, and `error` is JSON or null, whatever the lines have.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from msgspec.structs import astuple

from llmscale.errors import ConfigError, StorageError
from llmscale.exports.lines import COLUMNS, Block, Chunk, Group

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
        length = 0 if first is None or first.vectors is None else first.vectors.shape[1]
        schema = _facts(pa).append(pa.field("vector", pa.list_(pa.float32(), length)))
        with pq.ParquetWriter(path, schema) as writer:
            for batch in pa.ipc.open_stream(waiting):
                nulls = pa.nulls(len(batch), schema.field("vector").type)
                writer.write_batch(
                    pa.RecordBatch.from_arrays([*batch.columns, nulls], schema=schema)
                )
            for group in chain([first] if first else [], remaining):
                writer.write_batch(_batch(group, schema))


def blocks(path: Path) -> Iterator[Block]:
    """Yield the vectors in blocks. Raises `StorageError`."""
    with _opened(path) as file:
        length = file.schema_arrow.field("vector").type.list_size
        first = 0
        for batch in file.iter_batches(_BLOCK_ROWS, columns=["vector", "model"]):
            column = batch.column("vector")
            is_there = column.is_valid()
            there = np.flatnonzero(is_there.to_numpy(zero_copy_only=False))
            if there.size:
                numbers = column.flatten().to_numpy().reshape(-1, length)
                models = batch.column("model").filter(is_there).unique().to_pylist()
                yield Block(first + there, numbers, frozenset(m for m in models if m is not None))
            first += len(batch)


def chunks(path: Path, positions: Sequence[int]) -> dict[int, Chunk]:
    """Return the chunks at these positions; only the row groups that hold them are read."""
    found: dict[int, Chunk] = {}
    with _opened(path) as file:
        first = 0
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            here = [position for position in positions if first <= position < first + rows]
            if here:
                table = file.read_row_group(number, columns=list(COLUMNS))
                taken = table.take([position - first for position in here]).to_pylist()
                found |= {at: Chunk(**facts) for at, facts in zip(here, taken, strict=True)}
            first += rows
    return found


def _set_aside_failed(groups: Iterator[Group], waiting: IO[bytes]) -> Group | None:
    """Return the first group with a vector, and put those before it into a file.

    Not before it is known how long a vector is can a row be written; they may be a million.
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
        kind = schema.field("vector").type
        numbers = pa.array(group.vectors.reshape(-1))
        columns.append(
            pa.FixedSizeListArray.from_arrays(numbers, type=kind, mask=pa.array(group.failed))
        )
    return pa.RecordBatch.from_arrays(columns, schema=schema)


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
