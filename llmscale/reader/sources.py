"""Where lines come from: files, globs, gzip, standard input. Bytes only; nothing is parsed here.

Lines are read block by block and bounded in length, so that memory does not grow with the input.
"""

import glob
import gzip
import hashlib
import select
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

from llmscale.errors import ConfigError, StorageError

STDIN = "-"
BLOCK_BYTES = 256 * 1024
MAX_LINE_BYTES = 32 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line without its newline; `raw` is None where it is over `MAX_LINE_BYTES`."""

    source: str
    number: int  # 1-based, in its source
    raw: bytes | None


def expand(inputs: Sequence[str]) -> list[str]:
    """Return the paths that files and globs stand for, in order, each once.

    Raises `ConfigError` for what is not there.
    """
    paths: dict[str, None] = {}
    for name in inputs:
        found = [name] if name == STDIN or Path(name).exists() else sorted(glob.glob(name))  # noqa: PTH207
        if not found:
            raise ConfigError(f"there is no input {name}")
        for path in found:
            if Path(path).is_dir():
                raise ConfigError(f"{path} is a folder; name its files: '{path}/*.jsonl'")
            paths[path] = None
    if STDIN in paths and len(paths) > 1:
        raise ConfigError("standard input (-) can't be mixed with files")
    if STDIN in paths and sys.stdin.isatty():
        raise ConfigError("standard input is a terminal; pipe rows in, or name a file")
    return list(paths)


def digest(path: str) -> str:
    """Return the SHA-256 of a file, in hex. Raises `StorageError`."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from None


def blocks_of_lines(
    paths: Sequence[str], stopped: threading.Event | None = None
) -> Iterator[list[Line]]:
    """Yield the lines that are not blank, in lists of what one read brings.

    From standard input a list comes as soon as a line does; `stopped` ends the wait for one.
    Raises `StorageError` when a file can't be read.
    """
    for path in paths:
        try:
            with closing(_open(path)) as stream:
                read = _patient_read(stream, stopped) if path == STDIN else stream.read1  # type: ignore[attr-defined]
                yield from _split(path, read)
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise StorageError(f"can't read {path}: {reason}") from None


def _open(path: str) -> IO[bytes]:
    if path == STDIN:
        return sys.stdin.buffer
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return Path(path).open("rb")


def _patient_read(stream: IO[bytes], stopped: threading.Event | None) -> Callable[[int], bytes]:
    """Read what is there, and look up now and then while nothing is."""

    def read(size: int) -> bytes:
        while not select.select([stream], [], [], 0.1)[0]:
            if stopped is not None and stopped.is_set():
                return b""
        return stream.read1(size)  # type: ignore[attr-defined, no-any-return]

    return read


def _split(source: str, read: Callable[[int], bytes]) -> Iterator[list[Line]]:
    number = 0
    tail = b""
    skipping = False  # inside a line that is too long
    while block := read(BLOCK_BYTES):
        *whole, tail = (tail + block).split(b"\n")
        lines = []
        for raw in whole:
            number += 1
            line = _line(source, number, None if skipping else raw)
            skipping = False
            if line is not None:
                lines.append(line)
        if len(tail) > MAX_LINE_BYTES:
            tail, skipping = b"", True
        if lines:
            yield lines
    last = _line(source, number + 1, None if skipping else tail)
    if last is not None:
        yield [last]


def _line(source: str, number: int, raw: bytes | None) -> Line | None:
    """Return a line, or None for a blank one."""
    if raw is None or len(raw) > MAX_LINE_BYTES:
        return Line(source, number, None)
    if number == 1:
        raw = raw.removeprefix(_BOM)
    return Line(source, number, raw) if raw and not raw.isspace() else None
