"""What `llmscale embed` reads, as one file of rows: chunks of files, and rows that were rows.

The file has no name and lies beside the output: it is gone with the process, however that ends. A
file that can't be read becomes a row that says so.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple

import orjson

from llmscale.config import Config
from llmscale.documents import Chunker, Walk, blocks_of_chunks
from llmscale.errors import ConfigError
from llmscale.job.files import storage_error
from llmscale.reader.sources import STDIN, Source, blocks_of_lines, expand

_ROW_ENDINGS = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


class Found(NamedTuple):
    """What there was to read."""

    files: int = 0
    failed: int = 0  # files
    chunks: int = 0
    skipped: Mapping[str, int] = MappingProxyType({})  # files and folders, by the reason


@contextmanager
def rows_as_files(config: Config, beside: Path) -> Iterator[tuple[list[Source], Found]]:
    """Yield the rows of all inputs as one source, and what there was.

    Raises `ConfigError` for an input that is not there, `StorageError` on a full disk.
    """
    rows = [name for name in config.inputs if name == STDIN or _holds_rows(name)]
    paths = [name for name in config.inputs if name not in rows]
    if STDIN in rows and len(config.inputs) > 1:
        raise ConfigError("standard input (-) can't be mixed with files")
    if not paths and STDIN not in rows:
        yield expand(rows), Found()
        return
    with tempfile.TemporaryFile(dir=beside) as spool:
        try:
            found = _copy_chunks(config, paths, spool)
            _copy_rows(rows, spool)
            spool.flush()
        except OSError as error:
            raise storage_error(beside / "a copy of the input", error) from None
        name = ", ".join("stdin" if name == STDIN else name for name in config.inputs)
        yield [Source(f"/dev/fd/{spool.fileno()}", name)], found


def _holds_rows(name: str) -> bool:
    return name.lower().endswith(_ROW_ENDINGS)


def _copy_rows(names: list[str], spool: IO[bytes]) -> None:
    if names == [STDIN]:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        return
    for lines in blocks_of_lines(expand(names)) if names else ():
        for line in lines:
            spool.write((line.raw or b"") + b"\n")


def _copy_chunks(config: Config, paths: list[str], spool: IO[bytes]) -> Found:
    if not paths:
        return Found()
    walk = Walk(paths, include=config.embed_include, exclude=config.embed_exclude)
    chunker = Chunker(
        chunk_tokens=config.embed_chunk_tokens if config.embed_chunk else None,
        overlap_tokens=config.embed_overlap,
    )
    files = failed = chunks = 0
    for block in blocks_of_chunks(walk, chunker):
        for chunk in block.chunks:
            place = {"source": chunk.source, "start": chunk.start, "end": chunk.end}
            spool.write(_line({"id": chunk.id, "text": chunk.text, "place": place}))
        for failure in block.failures:
            place = {"source": failure.source, "start": 0, "end": 0}
            spool.write(_line({"id": failure.source, "fault": failure.message, "place": place}))
        files += block.files
        failed += len(block.failures)
        chunks += len(block.chunks)
    skipped = {str(reason): count for reason, count in walk.skipped.items() if count}
    return Found(files, failed, chunks, skipped)


def _line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
