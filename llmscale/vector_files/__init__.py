"""Vectors in the formats of other programs: written from the lines of an output, and read back.

The suffix of a file decides: `.npy`, `.parquet`, `.db` (or `.sqlite`, `.sqlite3`); any other file
is read as JSON lines. Each format is a module. Nothing is renamed or synced here: the caller stages
the file and publishes it.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from llmscale.core.errors import ConfigError
from llmscale.core.vectors import Vector
from llmscale.vector_files import jsonl
from llmscale.vector_files.lines import ChunkRecord, Group, VectorBlock, groups

NPY = frozenset({".npy"})
PARQUET = frozenset({".parquet"})
SQLITE = frozenset({".db", ".sqlite", ".sqlite3"})


class _Readable(Protocol):
    def blocks(self, path: Path) -> Iterator[VectorBlock]: ...
    def chunks(self, path: Path, positions: Sequence[int]) -> dict[int, ChunkRecord]: ...


class _Format(_Readable, Protocol):
    def write(self, groups: Iterable[Group], path: Path) -> None: ...
    def check(self) -> None: ...


def check(path: Path) -> None:
    """Raise `ConfigError` for a file that can't be written: its suffix, its extra, its folder.

    Call it before any vector is paid for.
    """
    chosen = _format_of(path)
    if chosen is None:
        raise ConfigError(f"can't export to {path}: unknown suffix; use .npy, .parquet or .db")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent} for the export {path.name}")
    if path.is_dir():
        raise ConfigError(f"can't export to {path}: it is a folder")
    chosen.check()


def export(lines: Iterable[Mapping[str, Any]], path: Path, staged: Path | None = None) -> None:
    """Write the vectors of an output's lines in the format of the suffix of `path`.

    `staged`: the file to write, for the caller to rename; None: `path` itself. Only the user can
    read the file. Raises `ConfigError`, `StorageError` for a line that does not fit, naming it, and
    `OSError`; nothing is left behind then.
    """
    chosen = _format_of(path)
    if chosen is None:
        check(path)
        return
    target = staged or path
    with open(target, "wb", opener=_private):
        pass
    try:
        chosen.write(groups(lines, f"can't write {path}"), target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def blocks(path: Path, query: Vector | None = None, k: int = 0) -> Iterator[VectorBlock]:
    """Yield the vectors of a file, in blocks.

    With a query, a format that can find its `k` nearest by itself yields only what is needed.
    Raises `ConfigError` for a missing extra, `StorageError` for a file that can't be read.
    """
    if query is not None and path.suffix.lower() in SQLITE:
        from llmscale.vector_files import sqlite

        return sqlite.near(path, query, k)
    return _readable(path).blocks(path)


def chunks(path: Path, positions: Sequence[int]) -> dict[int, ChunkRecord]:
    """Return the chunks at these positions. Raises as `blocks` does."""
    return _readable(path).chunks(path, positions)


def _readable(path: Path) -> _Readable:
    return _format_of(path) or jsonl


def _format_of(path: Path) -> _Format | None:
    from llmscale.vector_files import npy, parquet, sqlite

    suffix = path.suffix.lower()
    if suffix in NPY:
        return npy
    if suffix in PARQUET:
        return parquet
    return sqlite if suffix in SQLITE else None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
