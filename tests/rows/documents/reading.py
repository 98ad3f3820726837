"""Reads one file of the working folder, for tests."""

from pathlib import Path

from llmscale.rows.documents import Document, FileFailure, FoundFile, read_document
from llmscale.rows.documents.file_kinds import kind_of


def read(name: str, data: bytes | None = None) -> Document | FileFailure:
    """Read a file of the working folder, after writing it."""
    if data is not None:
        Path(name).write_bytes(data)
    return read_document(FoundFile(name, kind_of(name) or "plain", True))


def text_of(name: str, data: bytes) -> str:
    found = read(name, data)
    assert isinstance(found, Document), found
    return found.text


def failure_of(name: str, data: bytes | None = None) -> FileFailure:
    found = read(name, data)
    assert isinstance(found, FileFailure), found
    assert found.source == name
    assert found.message.startswith(f"{name} ")
    assert "\n" not in found.message
    return found
