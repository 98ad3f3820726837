"""From files to blocks of chunks, one file in memory at a time."""

from collections.abc import Iterator

import msgspec

from llmscale.rows.documents.chunker import Chunk, Chunker
from llmscale.rows.documents.document import read_document
from llmscale.rows.documents.file_errors import FileFailure
from llmscale.rows.documents.walk import Walk

BLOCK_CHUNKS = 256


class Block(msgspec.Struct, frozen=True):
    """Chunks of one file, or why there are none."""

    chunks: list[Chunk]
    failure: FileFailure | None = None
    ends_file: bool = True


def blocks_of_chunks(
    walk: Walk, chunker: Chunker, block_chunks: int = BLOCK_CHUNKS
) -> Iterator[Block]:
    """Yield the chunks of all files in the order of the walk, at most `block_chunks` at a time.

    A file that turns out not to be UTF-8 beyond its head is counted in `walk.skipped` as binary.
    """
    for found in walk:
        read = found if isinstance(found, FileFailure) else read_document(found)
        if not isinstance(read, FileFailure):
            chunks: list[Chunk] = []
            for chunk in chunker.chunks(read):
                if len(chunks) == block_chunks:
                    yield Block(chunks, ends_file=False)
                    chunks = []
                chunks.append(chunk)
            yield Block(chunks)
        elif read.reason != "not_text" or isinstance(found, FileFailure) or found.is_named:
            yield Block([], read)
        else:
            walk.skipped["binary"] += 1
