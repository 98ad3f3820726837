"""Lines as `llmscale embed` writes them, and sqlite-vec on every build of Python."""

import base64
import ctypes
import functools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import orjson

from llmscale.vector_files.lines import ChunkRecord, Matrix

ERROR = {"type": "timeout", "message": "late", "retryable": True}
MODEL = "local/wordllama"
ENDINGS = (".npy", ".parquet", ".db")


def line(index: int, vector: list[float] | None, *, base64_: bool = False, **fields: Any) -> Any:
    """Return a parsed line; without a vector, one that failed."""
    packed = None if vector is None else base64.b64encode(np.array(vector, "<f4").tobytes())
    return {
        "id": f"id {index}",
        "index": index,
        "source": "docs/a.md",
        "start": 10 * index,
        "end": 10 * index + 9,
        "text": f"text {index}",
        "vector": packed.decode() if base64_ and packed is not None else vector,
        "model": MODEL,
        "error": ERROR if vector is None else None,
        "metadata": None,
    } | fields


def spread(count: int, length: int = 8) -> Matrix:
    """Return vectors in random directions, the same every time."""
    return np.random.default_rng(7).standard_normal((count, length)).astype("<f4")


def write_jsonl(path: Path, lines: Iterable[Any]) -> Path:
    """Write the lines of a finished output."""
    path.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in lines))
    return path


def chunk_of(parsed: Any) -> ChunkRecord:
    """Return what is to come back of a line."""
    error = parsed["error"]
    fields = {name: parsed[name] for name in ("index", "source", "start", "end", "text", "model")}
    return ChunkRecord(
        id=parsed["id"], error=None if error is None else orjson.dumps(error).decode(), **fields
    )


@contextmanager
def extensions_loadable() -> Iterator[None]:
    """Have sqlite-vec in every connection, also where Python was built not to load extensions.

    SQLite itself can do it then; only the methods are missing. So the library hands it to each new
    connection (https://sqlite.org/c3ref/auto_extension.html), and the methods do nothing.
    """
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        yield
        return
    import _sqlite3

    import sqlite_vec  # type: ignore[import-untyped]

    (library,) = Path(sqlite_vec.__file__).parent.glob("vec0.*")
    sqlite = ctypes.CDLL(_sqlite3.__file__)
    begin = ctypes.cast(ctypes.CDLL(str(library)).sqlite3_vec_init, ctypes.c_void_p)
    sqlite.sqlite3_auto_extension(begin)
    loading = functools.partial(sqlite3.connect, factory=_Loading)
    try:
        with mock.patch.object(sqlite3, "connect", loading):
            yield
    finally:
        sqlite.sqlite3_cancel_auto_extension(begin)


class _Loading(sqlite3.Connection):
    """A connection that has its extension."""

    def enable_load_extension(self, enabled: bool, /) -> None:
        """Do nothing."""

    def load_extension(self, name: str, /, *, entrypoint: str | None = None) -> None:
        """Do nothing."""
