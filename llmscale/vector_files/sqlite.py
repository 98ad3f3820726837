"""`.db`: a SQLite database in which any program with sqlite-vec can find the nearest chunks.

    create table chunks("index" integer primary key, id, source, "start", "end", text, model, error)
    create virtual table vectors using vec0(vector float[256] distance_metric=cosine)

`vectors.rowid` is `chunks."index"`; a failed line has no vector, and JSON in `error`. Needs the
extra `sqlite`, and a Python whose sqlite3 loads extensions. No other extension is ever loaded.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import astuple

from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.vectors import LITTLE_FLOAT32, Vector
from llmscale.vector_files.lines import COLUMNS, ChunkRecord, Group, VectorBlock

_SCHEMA = """
    create table chunks (
        "index" integer primary key, id text, source text, "start" integer, "end" integer,
        text text, model text, error text
    );
    create index models on chunks(model) where error is null;
"""
_COLUMNS = ", ".join(f'"{name}"' for name in COLUMNS)

_BLOCK_ROWS = 4096
_MAX_NEAREST = 4096  # that sqlite-vec returns
_EPSILON = 1e-3  # of a distance in float32, for vectors of thousands of numbers


def check() -> None:
    """Raise `ConfigError` where the extra is missing, or this Python can't use it."""
    _connected(":memory:").close()


def write(groups: Iterable[Group], path: Path) -> None:
    """Write both tables."""
    with _opened(path, "rw", "write") as connection:
        connection.execute("pragma journal_mode = off")  # a file that is not finished is dropped
        connection.execute("pragma synchronous = off")  # the caller syncs it
        connection.executescript(_SCHEMA)
        connection.execute("begin")
        is_created = False
        for group in groups:
            _insert_chunks(connection, group)
            if group.vectors is not None and not is_created:
                _create_vectors(connection, group.vectors.shape[1])
                is_created = True
            _insert_vectors(connection, group)
        connection.execute("commit")


def blocks(path: Path) -> Iterator[VectorBlock]:
    """Yield the vectors in blocks. Raises `StorageError`."""
    with _opened(path, "ro", "read") as connection:
        if not _has_vectors(connection):
            return
        models = _models(connection)
        cursor = connection.execute("select rowid, vector from vectors")
        while rows := cursor.fetchmany(_BLOCK_ROWS):
            yield _block(rows, models)


def near(path: Path, query: Vector, k: int) -> Iterator[VectorBlock]:
    """Yield a block that contains the `k` nearest, or all blocks where that can't be proven.

    sqlite-vec computes in float32 and does not define the order of ties. So it is queried for more
    than `k`: the others are certainly further away if the last one is clearly behind the k-th, or
    if there are no others.
    """
    limit = min(4 * k + 60, _MAX_NEAREST)
    with _opened(path, "ro", "read") as connection:
        if not _has_vectors(connection):
            return
        found = connection.execute(
            "select rowid, vector, distance from vectors where vector match ? and k = ? "
            "order by distance",
            (query.astype(LITTLE_FLOAT32).tobytes(), limit),
        ).fetchall()
        distances = [distance for _, _, distance in found]
        holds_all = len(found) < limit or (
            limit > k and None not in distances and distances[-1] - distances[k - 1] > _EPSILON
        )
        if holds_all and found:
            yield _block([row[:2] for row in found], _models(connection))
    if not holds_all:
        yield from blocks(path)


def chunks(path: Path, positions: Sequence[int]) -> dict[int, ChunkRecord]:
    """Return the chunks at these positions."""
    found = {}
    statement = f'select {_COLUMNS} from chunks where "index" = ?'  # noqa: S608
    with _opened(path, "ro", "read") as connection:
        for position in positions:
            for row in connection.execute(statement, (position,)):
                found[position] = ChunkRecord(*row)
    return found


def _create_vectors(connection: sqlite3.Connection, length: int) -> None:
    connection.execute(
        f"create virtual table vectors using vec0(vector float[{length}] distance_metric=cosine)"
    )


def _insert_chunks(connection: sqlite3.Connection, group: Group) -> None:
    places = ", ".join("?" * len(COLUMNS))
    connection.executemany(
        f"insert into chunks ({_COLUMNS}) values ({places})",  # noqa: S608
        map(astuple, group.chunks),
    )


def _insert_vectors(connection: sqlite3.Connection, group: Group) -> None:
    if group.vectors is not None:
        rows = zip(group.chunks, group.vectors, group.failed, strict=True)
        connection.executemany(
            "insert into vectors (rowid, vector) values (?, ?)",
            ((chunk.index, row.tobytes()) for chunk, row, failed in rows if not failed),
        )


def _has_vectors(connection: sqlite3.Connection) -> bool:
    """Tell whether there is a vector; without any, the table could not be created."""
    connection.execute("select 1 from chunks limit 1")
    return bool(connection.execute("select 1 from sqlite_schema where name = 'vectors'").fetchall())


def _models(connection: sqlite3.Connection) -> frozenset[str]:
    rows = connection.execute(
        "select distinct model from chunks where error is null and model is not null"
    )
    return frozenset(str(model) for (model,) in rows)


def _block(rows: Sequence[tuple[int, bytes]], models: frozenset[str]) -> VectorBlock:
    positions = np.array([position for position, _ in rows], np.int64)
    numbers = np.frombuffer(b"".join(vector for _, vector in rows), LITTLE_FLOAT32)
    return VectorBlock(positions, numbers.reshape(len(rows), -1), models)


@contextmanager
def _opened(path: Path, mode: str, what: str) -> Iterator[sqlite3.Connection]:
    """Open an existing database. Raises `StorageError` for every error of SQLite."""
    try:
        with closing(_connected(f"{path.absolute().as_uri()}?mode={mode}")) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StorageError(f"can't {what} {path}: {error}") from None


def _connected(target: str) -> sqlite3.Connection:
    """Open with sqlite-vec. Raises `ConfigError` where it is not available."""
    vec = _sqlite_vec()
    connection = sqlite3.connect(target, uri=True, isolation_level=None)
    try:
        connection.enable_load_extension(True)
        vec.load(connection)
        connection.enable_load_extension(False)
        connection.execute("pragma trusted_schema = off")  # a found file must not run functions
    except (AttributeError, sqlite3.NotSupportedError):
        connection.close()
        raise ConfigError(
            ".db files need a Python whose sqlite3 loads extensions, and this one was built "
            "without; use another build, or .parquet or .npy"
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _sqlite_vec() -> Any:
    try:
        import sqlite_vec  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError('.db files need an extra: pip install "llmscale[sqlite]"') from None
    return sqlite_vec
