"""Folders and files to chunks of text, for `llmscale embed`.

`walking` finds the files, `texts` reads one, `chunking` splits its text, and `blocks` puts the
three together; `complete` counts the files that are done. `roots` says what the given paths stand
for, `ignoring` what is left out, `kinds` what a name tells; `markup` and `packed` extract text.
Sends nothing and writes nothing.
"""

from llmscale.rows.documents.blocks import Block, blocks_of_chunks
from llmscale.rows.documents.chunker import (
    DEFAULT_CHUNK_TOKENS,
    Chunk,
    Chunker,
    CountTokens,
    estimated_tokens,
)
from llmscale.rows.documents.complete_files import CompleteFiles
from llmscale.rows.documents.document import MAX_FILE_BYTES, Document, read_document
from llmscale.rows.documents.file_errors import FailureReason, FileFailure
from llmscale.rows.documents.file_kinds import FileKind, TextKind
from llmscale.rows.documents.walk import FoundFile, SkipReason, Walk

__all__ = [
    "DEFAULT_CHUNK_TOKENS",
    "MAX_FILE_BYTES",
    "Block",
    "Chunk",
    "Chunker",
    "CompleteFiles",
    "CountTokens",
    "Document",
    "FailureReason",
    "FileFailure",
    "FileKind",
    "FoundFile",
    "SkipReason",
    "TextKind",
    "Walk",
    "blocks_of_chunks",
    "estimated_tokens",
    "read_document",
]
