"""The text of a page is what a reader sees of it, however broken its markup is."""

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.rows.documents.html import text_of_html

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


def test_of_a_page_its_title_and_what_a_reader_sees_is_the_text() -> None:
    assert text_of_html(PAGE) == READ


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
