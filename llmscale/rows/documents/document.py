"""From a file to its text, and the way to split it. One file in memory at a time.

Line ends are kept; only a byte order mark is removed. Offsets in HTML, PDF and Word files count in
the extracted text. A file that can't be read is a value that says why: nothing in a file ends the
job.
"""

import codecs
import os
import stat
from pathlib import Path

import msgspec

from llmscale.rows.documents.file_errors import FileError, FileFailure, system_failure
from llmscale.rows.documents.file_kinds import FileKind, TextKind
from llmscale.rows.documents.html import text_of_html
from llmscale.rows.documents.pdf_docx import text_of_docx, text_of_pdf
from llmscale.rows.documents.walk import HEAD_BYTES, FoundFile

MAX_FILE_BYTES = 64 * 1024 * 1024

_TEXT_KIND: dict[FileKind, TextKind] = {"markdown": "markdown", "code": "code"}


class Document(msgspec.Struct, frozen=True, gc=False):
    """The text of one file."""

    source: str
    text: str
    kind: TextKind = "plain"


def read_document(file: FoundFile) -> Document | FileFailure:
    """Return the text of a file, or why there is none."""
    try:
        text = _text(file.kind, _bytes(file.source))
    except FileError as error:
        return error.of(file.source)
    except OSError as error:
        return system_failure(file.source, error)
    return Document(file.source, text, _TEXT_KIND.get(file.kind, "plain"))


def _bytes(path: str) -> bytes:
    if not stat.S_ISREG(Path(path).stat().st_mode):  # opening a pipe would block forever
        raise FileError("not_a_file", "is not a regular file; save its text to one")
    with Path(path).open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > MAX_FILE_BYTES:
            raise FileError("too_large", f"is over {MAX_FILE_BYTES // 1024**2} MB; split it up")
        return file.read(size_bytes)  # allocates as much memory as it is given


def _text(kind: FileKind, data: bytes) -> str:
    if kind == "pdf":
        return text_of_pdf(data)
    if kind == "docx":
        return text_of_docx(data)
    text = _decoded(data)
    return text_of_html(text) if kind == "html" else text


def _decoded(data: bytes) -> str:
    if b"\0" in data[:HEAD_BYTES]:
        raise FileError("not_text", "is binary; name text files only")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start}); convert it, for example with iconv"
        raise FileError("not_text", what) from None
