"""PDF and Word files give their text, and a bad one fails alone, whatever is wrong with it."""

import io
import sys
import zipfile
from functools import cache
from pathlib import Path

import docx
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.rows.documents import FileFailure, FoundFile, pdf_docx, read_document
from llmscale.rows.documents.file_kinds import FileKind
from tests.rows.documents.reading import failure_of, read, text_of


def pdf(*pages: str, password: str | None = None) -> bytes:
    """Write a PDF by hand, a line of text a page."""
    writer = pypdf.PdfWriter(io.BytesIO(bare_pdf(pages)))
    if password is not None:
        writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def bare_pdf(pages: tuple[str, ...]) -> bytes:
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
    ]
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    for i, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode() if text else b""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {4 + 2 * i} 0 R "
            f"/Resources << /Font << /F1 {font} >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    head = b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(data))
    return data + head + end


def test_the_pages_of_a_pdf_are_its_text(folder: Path) -> None:
    assert text_of("a.pdf", pdf("first page", "", "third page")) == "first page\n\nthird page"


def test_a_pdf_whose_password_is_empty_is_read(folder: Path) -> None:
    assert text_of("a.pdf", pdf("only printing is forbidden", password="")).startswith("only")


def test_a_pdf_with_a_password_is_a_failure(folder: Path) -> None:
    failure = failure_of("a.pdf", pdf("secret", password="x"))
    assert failure.reason == "encrypted"
    assert failure.message == "a.pdf is encrypted; save it without its password first"


def test_a_pdf_of_pictures_only_is_a_failure(folder: Path) -> None:
    assert failure_of("a.pdf", pdf("", "")).reason == "no_text"


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4", b"no pdf", b"%PDF-1.4\n" + b"\0" * 100])
def test_a_pdf_that_is_none_is_a_failure(folder: Path, data: bytes) -> None:
    assert failure_of("a.pdf", data).reason == "damaged"


@given(st.data())
def test_a_damaged_pdf_or_word_file_never_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name, whole = data.draw(st.sampled_from([("a.pdf", bare_pdf(("x",))), ("a.docx", word())]))
    at = data.draw(st.integers(0, len(whole) - 1))
    with_other = data.draw(st.binary(max_size=12))
    cut = data.draw(st.integers(0, 12))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(whole[:at] + with_other + whole[at + cut :])
    kind: FileKind = "pdf" if name == "a.pdf" else "docx"
    read_document(FoundFile(str(path), kind, True))


def test_what_pypdf_grumbles_about_is_not_printed(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text_of("a.pdf", bare_pdf(("hello",)).replace(b"startxref\n", b"startxref\n1"))
    assert capfd.readouterr() == ("", "")


@cache
def word() -> bytes:
    document = docx.Document()
    document.add_heading("A head", 1)
    document.add_paragraph("one\ntwo")
    document.add_paragraph("  ")
    table = document.add_table(2, 3)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"c{number}"
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    document.add_paragraph("end 👩")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def test_paragraphs_and_tables_of_a_word_file_are_its_text_in_their_order(folder: Path) -> None:
    expected = "A head\n\none\ntwo\n\nwide\tc2\nc3\tc4\tc5\n\nend 👩"
    assert text_of("a.docx", word()) == expected


def test_a_word_file_that_is_none_is_a_failure(folder: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("hello.txt", "no Word file")
    for data in (b"", b"old .doc", archive.getvalue(), word()[:-30]):
        assert failure_of("a.docx", data).reason == "damaged"


def bomb(name: str, size_bytes: int) -> bytes:
    """Put a part into a Word file that packs to a thousandth."""
    archive = io.BytesIO(word())
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file, file.open(name, "w") as part:
        for _ in range(size_bytes // 1024**2):
            part.write(b"\0" * 1024**2)
    return archive.getvalue()


@pytest.mark.parametrize(
    ("name", "bound"), [("word/big.xml", "MAX_XML_BYTES"), ("media/big.png", "MAX_UNPACKED_BYTES")]
)
def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    folder: Path, name: str, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf_docx, bound, 32 * 1024**2)
    data = bomb(name, 33 * 1024**2)
    assert len(data) < 1024**2
    assert failure_of("a.docx", data).reason == "too_large"


def test_a_part_that_is_larger_than_it_declares_is_damaged(folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(word())) as archive:
        size = archive.getinfo("word/document.xml").file_size
    lying = word().replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert failure_of("a.docx", lying).reason == "damaged"


def test_entities_in_a_word_file_are_not_expanded(folder: Path) -> None:
    laughs = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word())) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name == "word/document.xml":
                part = part.replace(b"<w:document", laughs.encode() + b"]><w:document", 1)
                part = part.replace(b"one", b"&j;", 1)
            new.writestr(name, part)
    found = read("a.docx", out.getvalue())
    assert isinstance(found, FileFailure) or len(found.text) < 1000


@pytest.mark.parametrize(("name", "package"), [("a.pdf", "pypdf"), ("a.docx", "docx")])
def test_without_the_extra_the_file_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    failure = failure_of(name, b"x")
    assert failure.reason == "missing_extra"
    assert failure.message.endswith("run: pip install 'llmscale[documents]'")
