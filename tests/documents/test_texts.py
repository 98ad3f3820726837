"""What the text of a file is, for each kind; and no file does more harm than to fail itself."""

import io
import os
import re
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import docx
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.documents import MAX_FILE_BYTES, Document, FileFailure, FoundFile, read_document
from llmscale.documents.kinds import KIND_OF_EXTENSION, FileKind, kind_of
from llmscale.documents.markup import text_of_html


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
def test_the_name_tells_the_kind(name: str, kind: FileKind | None) -> None:
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


PAGE = """<!doctype html><html><head><title>Fish &amp; <b>chips</b></title>
<meta charset="utf-8"><style>p { color: red }</style><script>if (a<b) { "</p>" }</script></head>
<body onload='x("<p>")'><h1>A  head</h1><p>one <b>t</b>wo<br/>three &lt;p&gt; &euro;&#8364;&nbsp;4
<ul><li>x<li>y</ul><!-- <p>no</p> --><pre>
 a
   b</pre><table><tr><th>k</th><td>v</td></tr><tr><td>1</td></table>
<svg><text>no</text></svg><SCRIPT >no</SCRIPT\n><a title="x > y" href=/z/>a < b</a></body></html>"""

READ = (
    "Fish & <b>chips</b>\n\nA head\n\none two\nthree <p> €€\xa04\n\nx\ny\n\n\n a\n   b\n\n"
    "k v\n1\n\na < b"
)


def test_of_a_page_its_title_and_what_a_reader_sees_is_the_text(folder: Path) -> None:
    assert text_of("a.html", PAGE.encode()) == READ


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a<b c", "a"),
        ("a<!-- b", "a"),
        ("a<script>b", "a"),
        ("a <script src='x' /> b", "a b"),
        ("<title>t", "t"),
        ("<p title='a\"b>c'>d", "d"),
        ("<p don't>a</p>b", "a\n\nb"),
        ('<p a="b>c', ""),
        ("a</>b</ c>d<?e>f<!g>h", "abdfh"),
        ("1 < 2 <3 <", "1 < 2 <3 <"),
        ("&amp;lt; &unknown; &", "&lt; &unknown; &"),
        ("&#0; &#xD800; &#" + "9" * 5000 + ";", "\ufffd \ufffd \ufffd"),
    ],
)
def test_odd_markup_is_read_as_browsers_do(page: str, text: str) -> None:
    assert text_of_html(page) == text


class Reference(HTMLParser):
    """The text by the standard library, where every tag is a space."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += " "

    def handle_endtag(self, tag: str) -> None:
        self.text += " "


ATTRIBUTES = st.sampled_from(["", " a", " a=b", " a='>'", ' a="<p>" b', "\n a = 'x'\tc=\"'\""])
TEXT = st.text(alphabet="ab é&;\n\t>\"'", max_size=8)
ELEMENT = st.recursive(
    TEXT,
    lambda inner: st.builds(
        lambda tag, attributes, children: f"<{tag}{attributes}>{''.join(children)}</{tag}>",
        st.sampled_from(["p", "div", "li", "td", "h1", "BR"]),
        ATTRIBUTES,
        st.lists(inner, max_size=4),
    ),
)


@given(st.lists(ELEMENT, max_size=4))
def test_the_words_of_a_page_are_those_that_the_standard_library_finds(page: list[str]) -> None:
    reference = Reference()
    reference.feed("".join(page))
    reference.close()
    assert text_of_html("".join(page)).split() == reference.text.split()


@given(st.text(alphabet="<>/!-?ab='\" &#;x0\n", max_size=60))
def test_no_page_is_refused(page: str) -> None:
    assert len(text_of_html(page)) <= len(page) + 2 * page.count("<")


HOSTILE = [
    "<a ",
    "<!--",
    "<a b='",
    '<a b="',
    "</",
    "<!",
    "<p",
    "<a =",
    "<title>",
    "<script>",
    "&#9",
    " ",
]


@pytest.mark.parametrize("part", HOSTILE)
def test_a_page_of_unclosed_tags_takes_no_longer_than_its_length(part: str) -> None:
    started = time.process_time()
    text_of_html(part * 100_000)
    assert time.process_time() - started < 20, "the standard library needs hours for some"


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


def word(fill: Callable[[object], None] | None = None) -> bytes:
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


@pytest.mark.parametrize(("name", "size_mb"), [("word/big.xml", 65), ("media/big.png", 520)])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(folder: Path, name: str, size_mb: int) -> None:
    data = bomb(name, size_mb * 1024**2)
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


def test_warnings_are_errors_here_or_the_tests_above_show_less() -> None:
    with pytest.raises(UserWarning):
        warnings.warn("x", UserWarning, stacklevel=1)
