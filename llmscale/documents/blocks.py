"""From files to blocks of chunks: what a job takes in, one file in memory at a time."""

from collections.abc import Iterator

import msgspec

from llmscale.documents.chunking import Chunk, Chunker
from llmscale.documents.failures import FileFailure
from llmscale.documents.texts import read_document
from llmscale.documents.walking import Walk

BLOCK_CHUNKS = 256


class Block(msgspec.Struct, frozen=True):
    """Some chunks, and what else came up on the way to them."""

    chunks: list[Chunk]
    failures: list[FileFailure]
    files: int  # that ended in this block and could be read


def blocks_of_chunks(
    walk: Walk, chunker: Chunker, block_chunks: int = BLOCK_CHUNKS
) -> Iterator[Block]:
    """Yield the chunks of all files, about `block_chunks` at a time, in the order of the walk.

    A file that the walk took for text, but that turns out further down not to be UTF-8, is counted
    in `walk.skipped` as the other binary ones are.
    """
    chunks: list[Chunk] = []
    failures: list[FileFailure] = []
    files = 0
    for found in walk:
        read = found if isinstance(found, FileFailure) else read_document(found)
        if not isinstance(read, FileFailure):
            for chunk in chunker.chunks(read):
                chunks.append(chunk)
                if len(chunks) == block_chunks:
                    yield Block(chunks, failures, files)
                    chunks, failures, files = [], [], 0
            files += 1
        elif read.reason != "not_text" or isinstance(found, FileFailure) or found.is_named:
            failures.append(read)
        else:
            walk.skipped["binary"] += 1
        if len(failures) == block_chunks:
            yield Block(chunks, failures, files)
            chunks, failures, files = [], [], 0
    if chunks or failures or files:
        yield Block(chunks, failures, files)
