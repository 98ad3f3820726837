"""Rows in input order, from a journal in completion order: by few reads, and large ones."""

import errno
import os
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

from llmscale.core.choices import OutputFormat
from llmscale.core.json_text import loads
from llmscale.core.output_line import encode

BLOCK_BYTES = 1024 * 1024
MAX_SPREAD = 2  # bytes read for one wanted; rows that lie farther apart are read one by one
_MAX_ROWS = 4_096  # of a block


class Places(NamedTuple):
    """Where rows are: at `offset - 1` of the journal; negative ones at `-offset - 1` of OUT."""

    offsets: "array[int]"
    sizes: "array[int]"  # bytes

    def of(self, rows: range) -> "Places":
        """Return the places of some of the rows."""
        part = slice(rows.start, rows.stop)
        return Places(self.offsets[part], self.sizes[part])


def in_order(
    journal: Path, output: Path, places: Places, rows: range, output_format: OutputFormat
) -> Iterator[bytes]:
    """Yield rows in the format of the output, in blocks. Raises `OSError`."""
    is_batch = output_format == "openai-batch"
    with ExitStack() as files:
        lines = earlier = files.enter_context(journal.open("rb"))
        for block in _blocks(places.sizes, rows):
            found = places.of(block)
            if earlier is lines and min(found.offsets) < 0:
                earlier = files.enter_context(output.open("rb"))
            runs = list(_runs(found, are_joined=not is_batch))
            yield b"".join(_pieces(lines, earlier, runs, is_batch=is_batch))


def _blocks(sizes: "array[int]", rows: range) -> Iterator[range]:
    """Yield the rows of each block. A row that is larger than a block is a block of its own."""
    while rows:
        block = rows[:_MAX_ROWS]
        while len(block) > 1 and sum(sizes[block.start : block.stop]) > BLOCK_BYTES:
            block = block[: len(block) // 2]
        yield block
        rows = rows[len(block) :]


def _runs(places: Places, *, are_joined: bool) -> Iterator[tuple[int, int]]:
    """Yield offset and size of the rows; those that follow one another are one, if `are_joined`."""
    first = following = size_of_run = 0
    for offset, size in zip(*places, strict=True):
        if offset != following or not are_joined:
            if size_of_run:
                yield first, size_of_run
            first, size_of_run = offset, 0
        size_of_run += size
        following = offset + size if offset > 0 else offset - size
    if size_of_run:
        yield first, size_of_run


def _pieces(
    lines: IO[bytes], earlier: IO[bytes], runs: list[tuple[int, int]], *, is_batch: bool
) -> Iterator[bytes]:
    """Yield the bytes of the runs; for batch output, each line of the journal is re-encoded."""
    ours = [(offset, offset + size) for offset, size in runs if offset > 0]
    begin, end = (min(ours)[0], max(ours)[1]) if ours else (0, 0)
    is_dense = end - begin <= MAX_SPREAD * sum(upto - offset for offset, upto in ours)
    region = _read(lines, begin - 1, end - begin) if ours and is_dense else None
    for offset, size in runs:
        if offset < 0:
            yield _read(earlier, -offset - 1, size)
            continue
        if region is None:
            raw = _read(lines, offset - 1, size)
        else:
            raw = region[offset - begin : offset - begin + size]
        yield encode(loads(raw), "openai-batch") if is_batch else raw


def _read(file: IO[bytes], offset: int, size: int) -> bytes:
    """Read a part of a file. Raises `OSError` where it is not there."""
    pieces = []
    while size:
        piece = os.pread(file.fileno(), size, offset)
        if not piece:
            raise OSError(errno.EIO, "a file of the job has become shorter")
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return b"".join(pieces)
