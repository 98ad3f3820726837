"""The text of PDF and Word files, through the packages of the extra `documents`.

They are imported for the first such file. A file that is encrypted, damaged or a zip bomb raises
`FileError` for every error of the package. Pictures are not read.
"""

import io
import logging
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from llmscale.rows.documents.file_errors import FileError

if TYPE_CHECKING:
    from docx.document import Document
    from docx.table import Table
    from pypdf import PdfReader

MAX_TEXT_CHARACTERS = 64 * 1024 * 1024
MAX_XML_BYTES = 64 * 1024 * 1024  # becomes a tree of about ten times its size
MAX_UNPACKED_BYTES = 512 * 1024 * 1024  # with all pictures
MAX_MEMBERS = 10_000

_INSTALL = "needs a package that is not installed; run: pip install 'llmscale[documents]'"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def text_of_pdf(data: bytes) -> str:
    """Return the text of all pages, a blank line between two. Raises `FileError`."""
    try:
        import pypdf
    except ImportError:
        raise FileError("missing_extra", _INSTALL) from None
    # it warns of every flaw that it can work around
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted:
            _unlock(reader)
        text = _joined(page.extract_text().strip() for page in reader.pages)
    except FileError:
        raise
    except Exception as error:  # a damaged file breaks it in undocumented ways
        raise FileError("damaged", f"is not a readable PDF: {_reason(error)}") from None
    if not text.strip():
        raise FileError("no_text", "has no text, only pictures; run text recognition (OCR) on it")
    return text


def _unlock(reader: "PdfReader") -> None:
    """Many files only forbid printing or copying: their password is empty."""
    try:
        is_open = bool(reader.decrypt(""))
    except Exception:  # an unsupported encryption
        is_open = False
    if not is_open:
        raise FileError("encrypted", "is encrypted; save it without its password first")


def text_of_docx(data: bytes) -> str:
    """Return paragraphs and tables in their order, a blank line between. Raises `FileError`."""
    try:
        import docx
    except ImportError:
        raise FileError("missing_extra", _INSTALL) from None
    try:
        _refuse_bomb(data)
        return _joined(_blocks(docx.Document(io.BytesIO(data))))
    except FileError:
        raise
    except Exception as error:  # zip, XML and the package have a tree of errors each
        raise FileError("damaged", f"is not a readable Word file: {_reason(error)}") from None


def _refuse_bomb(data: bytes) -> None:
    """Check the sizes that the archive declares; no more is ever unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    xml_bytes = sum(m.file_size for m in members if m.filename.lower().endswith((".xml", ".rels")))
    if (
        len(members) > MAX_MEMBERS
        or xml_bytes > MAX_XML_BYTES
        or sum(member.file_size for member in members) > MAX_UNPACKED_BYTES
    ):
        raise FileError(
            "too_large", "unpacks to more than the limit for a Word file; save it as text"
        )


def _blocks(document: "Document") -> Iterator[str]:
    from docx.text.paragraph import Paragraph

    for item in document.iter_inner_content():
        yield item.text if isinstance(item, Paragraph) else "\n".join(_rows(item))


def _rows(table: "Table") -> Iterator[str]:
    for row in table.rows:
        cells: list[str] = []
        for cell in row.cells:
            if not cells or cells[-1] != cell.text:  # a merged cell comes once for each column
                cells.append(cell.text)
        yield "\t".join(cells)


def _joined(texts: Iterable[str]) -> str:
    parts: list[str] = []
    characters = 0
    for text in texts:
        if text.strip():
            parts.append(_LONE_SURROGATE.sub("\ufffd", text))
            characters += len(text)
        if characters > MAX_TEXT_CHARACTERS:
            raise FileError("too_large", "unpacks to more than 64 MB of text; split it up")
    return "\n\n".join(parts)


def _reason(error: Exception) -> str:
    reason = " ".join(str(error).split())[:200].encode("utf-8", "replace").decode()
    return reason or type(error).__name__
