"""The input of `llmscale embed` as one file of rows: chunks of files, then the given rows.

The file has no name and is on the disk of the output: it disappears with the process, however that
ends. A file that can't be read becomes a row that says so.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import orjson

from llmscale.config import EmbedConfig
from llmscale.core.atomic_file import storage_error
from llmscale.core.errors import ConfigError
from llmscale.core.json_text import dumps
from llmscale.observe.progress import Reading
from llmscale.rows.sources import STDIN, Source, blocks_of_lines, expand

if TYPE_CHECKING:
    from llmscale.rows.documents import Block, CompleteFiles

_ROW_ENDINGS = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


class Found(NamedTuple):
    """The files that were found."""

    complete: "CompleteFiles"  # all files; one that can't be read has one row
    failed: int = 0  # files and folders
    chunks: int = 0
    skipped: Mapping[str, int] = MappingProxyType({})  # files and folders, by the reason

    def __str__(self) -> str:
        skipped = ", ".join(f"{count:,} {why}" for why, count in self.skipped.items())
        parts = [
            f"{_counted(self.complete.files, 'file')}, {_counted(self.chunks, 'chunk')}",
            *([f"{self.failed:,} can't be read"] if self.failed else []),
            *([f"skipped {skipped}"] if skipped else []),
        ]
        return "; ".join(parts)


@contextmanager
def rows_as_files(
    inputs: Sequence[str], embed: EmbedConfig, beside: Path, reading: Reading
) -> Iterator[tuple[list[Source], Found | None]]:
    """Yield the rows of all inputs as one source, chunks first, and the files that were found.

    Raises `ConfigError` for an input that does not exist, `StorageError` on a full disk.
    """
    rows = [name for name in inputs if name == STDIN or _holds_rows(name)]
    paths = [name for name in inputs if name not in rows]
    if STDIN in rows and len(inputs) > 1:
        raise ConfigError("standard input (-) can't be mixed with files")
    if not paths and STDIN not in rows:
        yield expand(rows), None
        return
    with tempfile.TemporaryFile(dir=beside) as spool:
        try:
            found = _copy_chunks(embed, paths, spool, reading) if paths else None
            _copy_rows(rows, spool)
            spool.flush()
        except OSError as error:
            raise storage_error(beside / "a copy of the input", error) from None
        name = ", ".join("stdin" if name == STDIN else name for name in inputs)
        yield [Source.of_descriptor(spool.fileno(), name)], found


def _holds_rows(name: str) -> bool:
    return name.lower().endswith(_ROW_ENDINGS)


def _copy_rows(names: list[str], spool: IO[bytes]) -> None:
    if names == [STDIN]:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        return
    for lines in blocks_of_lines(expand(names)) if names else ():
        for line in lines:
            spool.write((line.raw or b"") + b"\n")


def _copy_chunks(embed: EmbedConfig, paths: list[str], spool: IO[bytes], reading: Reading) -> Found:
    # late: rows without files need none of it
    from llmscale.rows.documents import Chunker, CompleteFiles, Walk, blocks_of_chunks

    complete = CompleteFiles()
    walk = Walk(paths, include=embed.include, exclude=embed.exclude)
    chunker = Chunker(
        chunk_tokens=embed.chunk_tokens if embed.chunk else None,
        overlap_tokens=embed.overlap,
    )
    failed = chunks = of_this_file = 0
    with reading:
        for block in blocks_of_chunks(walk, chunker):
            for row in _rows_of(block):
                spool.write(dumps(row, orjson.OPT_APPEND_NEWLINE))
            failed += block.failure is not None
            chunks += len(block.chunks)
            of_this_file += len(block.chunks)
            if block.ends_file:
                complete.add(1 if block.failure is not None else of_this_file)
                of_this_file = 0
            reading.files, reading.chunks = complete.files, chunks
    skipped = {str(reason): count for reason, count in walk.skipped.items() if count}
    return Found(complete, failed, chunks, skipped)


def _rows_of(block: "Block") -> Iterator[dict[str, Any]]:
    for chunk in block.chunks:
        place = {"source": chunk.source, "start": chunk.start, "end": chunk.end}
        yield {"id": chunk.id, "text": chunk.text, "place": place}
    if block.failure is not None:
        source = block.failure.source
        place = {"source": source, "start": 0, "end": 0}
        yield {"id": source, "fault": block.failure.message, "place": place}


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
