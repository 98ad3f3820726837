"""Folders and files to chunks of text, for `llmscale embed`.

`walk` finds the files, `document` reads one, `chunker` splits its text, and `blocks` combines the
three; `complete_files` counts the files that are done. `roots` resolves the given paths,
`gitignore` matches patterns, `file_kinds` classifies names; `html` and `pdf_docx` extract text.
Sends nothing and writes nothing.
"""

from llmscale.rows.documents.blocks import Block, blocks_of_chunks
from llmscale.rows.documents.chunker import (
    DEFAULT_CHUNK_TOKENS,
    Chunk,
    Chunker,
    CountTokens,
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
    "read_document",
]
