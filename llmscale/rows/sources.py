"""Where lines come from: files, globs, gzip, standard input. Bytes only; nothing is parsed here.

Lines are read block by block and bounded in length, so that memory does not grow with the input.
"""

import glob
import gzip
import hashlib
import io
import os
import select
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import msgspec

from llmscale.core.errors import ConfigError, StorageError
from llmscale.rows.file_names import check_unicode
from llmscale.rows.input_kinds import check_kind
from llmscale.rows.input_names import check_regular, missing_input
from llmscale.rows.nameless_file import open_again

STDIN = "-"
BLOCK_BYTES = 256 * 1024
MAX_LINE_BYTES = 32 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Source(NamedTuple):
    """A file of lines, or standard input."""

    path: str  # "-": standard input
    name: str  # for messages
    descriptor: int | None = None  # of a file without a name; None: the path is opened

    @classmethod
    def of_descriptor(cls, descriptor: int, name: str) -> Self:
        """Return a file that is open and has no name."""
        return cls(f"descriptor {descriptor}", name, descriptor)


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line without its newline; `raw` is None where it is over `MAX_LINE_BYTES`."""

    source: str
    number: int  # 1-based, in its source
    raw: bytes | None


def expand(inputs: Sequence[str], *, of_rows: bool = True) -> list[Source]:
    """Return the sources that files, globs and `-` name, in order, each once.

    Raises `ConfigError` for an input that does not exist and, where they hold rows, for one that is
    known to be something else than JSONL.
    """
    paths: dict[str, None] = {}
    for name in inputs:
        found = [name] if name == STDIN or _exists(name) else sorted(glob.glob(name))  # noqa: PTH207
        if not found:
            raise ConfigError(missing_input(name))
        for path in found:
            check_unicode(path)
            if path != STDIN:
                check_regular(path)
                if of_rows:
                    check_kind(path)
            paths[os.path.normpath(path)] = None  # ./a is a
    if STDIN in paths and len(paths) > 1:
        raise ConfigError("standard input (-) can't be mixed with files")
    if STDIN in paths and sys.stdin.isatty():
        raise ConfigError("standard input is a terminal; pipe rows in, or name a file")
    return [Source(path, "stdin" if path == STDIN else path) for path in paths]


def _exists(name: str) -> bool:
    try:
        return bool(name) and os.path.lexists(name)
    except OSError:  # longer than a name can be, such as a prompt
        return False


def digest(source: Source) -> str:
    """Return the SHA-256 of a file, in hex. Raises `StorageError`."""
    try:
        with opened(source) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"can't read {source.name}: {error.strerror}") from None


def blocks_of_lines(
    sources: Sequence[Source],
    stopped: threading.Event | None = None,
    digests: dict[str, str] | None = None,
) -> Iterator[list[Line]]:
    """Yield the lines that are not blank, a list for each read.

    From standard input a list comes as soon as a line does; `stopped` ends the wait for it.
    `digests` receives the SHA-256 of each file read to its end, in hex, by its path.
    Raises `StorageError` when a file can't be read.
    """
    for source in sources:
        try:
            if source.path == STDIN:
                with open(sys.stdin.fileno(), "rb", closefd=False) as stream:
                    yield from _split(source.name, _patient_read(stream, stopped))
            elif digests is None:
                with opened(source) as file:
                    yield from _split(source.name, _unpacked(source.path, file).read1)
            else:
                with closing(_HashedFile(source)) as hashed:
                    yield from _split(source.name, _unpacked(source.path, hashed).read1)
                    digests[source.path] = hashed.hexdigest()
        except (OSError, EOFError, zlib.error) as error:
            if isinstance(error, gzip.BadGzipFile) and "Not a gzipped" in str(error):
                raise ConfigError(
                    f"{source.name} is not gzipped, though its name ends in .gz; rename it"
                ) from None
            reason = getattr(error, "strerror", None) or str(error)
            raise StorageError(f"can't read {source.name}: {reason}") from None


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def opened(source: Source) -> io.BufferedReader:
    """Open a file that is not standard input. Raises `OSError`."""
    if source.descriptor is not None:
        return open_again(source.descriptor)
    return Path(source.path).open("rb")


def _is_packed(path: str) -> bool:
    return path.endswith(".gz")


class _HashedFile:
    """A file whose SHA-256 is taken while it is read."""

    def __init__(self, source: Source) -> None:
        self._file = opened(source)
        self._sha256 = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        return self._hashed(self._file.read(size))

    def read1(self, size: int, /) -> bytes:
        return self._hashed(self._file.read1(size))

    def seek(self, _: int, /) -> int:
        """Refuse: a skipped part would not be hashed."""
        raise io.UnsupportedOperation("seek")

    def close(self) -> None:
        self._file.close()

    def hexdigest(self) -> str:
        """Read to the end, and return the SHA-256 of the whole file in hex."""
        while self.read1(BLOCK_BYTES):
            pass
        return self._sha256.hexdigest()

    def _hashed(self, block: bytes) -> bytes:
        self._sha256.update(block)
        return block


def _unpacked(path: str, file: "_HashedFile | io.BufferedReader") -> _Stream:
    if not _is_packed(path):
        return file
    return gzip.GzipFile(fileobj=file, mode="rb")


def _patient_read(stream: _Stream, stopped: threading.Event | None) -> Callable[[int], bytes]:
    """Read what is available; while nothing is, check ten times a second for the stop."""

    def read(size: int) -> bytes:
        while not select.select([sys.stdin], [], [], 0.1)[0]:
            if stopped is not None and stopped.is_set():
                return b""
        return stream.read1(size)

    return read


def _split(source: str, read: Callable[[int], bytes]) -> Iterator[list[Line]]:
    number = 0  # of lines until now
    tail = b""
    skipping = False  # inside a line that is too long
    while block := read(BLOCK_BYTES):
        *whole, tail = (tail + block).split(b"\n")
        lines = _lines(source, number, whole, skipping=skipping)
        skipping = skipping and not whole
        number += len(whole)
        if len(tail) > MAX_LINE_BYTES:
            tail, skipping = b"", True
        if lines:
            yield lines
    if lines := _lines(source, number, [tail], skipping=skipping):
        yield lines


def _lines(source: str, before: int, whole: list[bytes], *, skipping: bool) -> list[Line]:
    """Return the lines that are not blank. `before`: how many lines precede them.

    `skipping`: the first is the end of a line that is too long.
    """
    cut = []
    if whole and skipping:
        whole[0] = b""
        cut = [Line(source, before + 1, None)]
    elif whole and not before and len(whole[0]) <= MAX_LINE_BYTES:
        whole[0] = whole[0].removeprefix(_BOM)
    return cut + [
        Line(source, number, raw if len(raw) <= MAX_LINE_BYTES else None)
        for number, raw in enumerate(whole, before + 1)
        if raw and (len(raw) > MAX_LINE_BYTES or not raw.isspace())
    ]
