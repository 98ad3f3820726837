"""What the text of a file is, for each kind; and no file does more harm than to fail itself."""

import os
import re
from pathlib import Path

import pytest

from llmscale.rows.documents import MAX_FILE_BYTES, Document
from llmscale.rows.documents.file_kinds import KIND_OF_EXTENSION, FileKind, kind_of
from tests.rows.documents.reading import failure_of, read, text_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "plain"),
        ("a.rst", "plain"),
        ("a.MD", "markdown"),
        ("a.b.markdown", "markdown"),
        ("a.py", "code"),
        ("a.tsx", "code"),
        ("Makefile", "code"),
        ("README", "plain"),
        ("a.html", "html"),
        ("a.PDF", "pdf"),
        ("a.docx", "docx"),
        ("a.png", None),
        ("a.jsonl", None),
        ("a", None),
        ("a.", None),
        (".md", None),
        ("md", None),
    ],
)
def test_the_name_decides_the_kind(name: str, kind: FileKind | None) -> None:
    assert kind_of(name) == kind


def test_extensions_are_in_lower_case_and_without_a_dot() -> None:
    assert all(e == e.lower() and e.isalnum() for e in KIND_OF_EXTENSION)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.txt", "plain"), ("a.md", "markdown"), ("a.py", "code"), ("a.html", "plain")],
)
def test_the_kind_of_the_text_follows_from_that_of_the_file(
    folder: Path, name: str, kind: str
) -> None:
    assert read(name, b"x") == Document(name, "x", kind)  # type: ignore[arg-type]


def test_a_byte_order_mark_is_no_text_and_line_ends_stay_as_they_are(folder: Path) -> None:
    text = "\ufefféa\r\nb\rc\n\x0b\x0c\u2028 \ufeff"
    assert text_of("a.txt", text.encode()) == text[1:]
    assert text_of("a.md", b"") == ""


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"a\0", "is binary"),
        ("é".encode("utf-16"), "is binary|is not UTF-8"),
        (b"x" * 9000 + b"\xe9", r"is not UTF-8 \(byte 9000\)"),
        (b"\xed\xa0\x80", "is not UTF-8"),
    ],
)
def test_what_is_no_utf8_is_a_failure(folder: Path, data: bytes, what: str) -> None:
    failure = failure_of("a.txt", data)
    assert failure.reason == "not_text"
    assert re.search(what, failure.message)


def test_a_file_over_the_bound_is_a_failure(folder: Path) -> None:
    with Path("a.txt").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    failure = failure_of("a.txt")
    assert failure.reason == "too_large"
    assert failure.message == "a.txt is over 64 MB; split it up"


def test_what_is_not_there_or_no_file_is_a_failure(folder: Path) -> None:
    assert failure_of("gone.md").message == "gone.md can't be read: No such file or directory"
    Path("round.md").symlink_to("round.md")
    assert failure_of("round.md").reason == "unreadable"
    os.mkfifo("pipe.md")
    assert failure_of("pipe.md").reason == "not_a_file"


def test_a_page_is_read_through_its_markup(folder: Path) -> None:
    assert text_of("a.html", b"\xef\xbb\xbf<title>T</title><p>a &lt; b") == "T\n\na < b"
