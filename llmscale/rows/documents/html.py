"""The text of an HTML page: its title, then what a reader sees, a blank line between blocks.

The standard library's parser rescans the rest of the page for each tag that is not closed: 60 KB of
`<a ` took it 37 s (Python 3.11.7), and a file must never hang a job. So tags are found here, going
forward only: as in a browser, what is never closed lasts to the end of the page. Builds no tree,
follows no link, knows no style sheet.
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

_OPENING = re.compile(r"<(?=[a-zA-Z/!?])")
_NAME = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)")
# possessive throughout: each character is looked at once, whether or not the tag is ever closed
_ATTRIBUTES = re.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+'|(?!["'])))*+>""")
_SPACE = re.compile(r"[ \t\n\r\f]+")
_HUGE_NUMBER = re.compile(r"&#(?:[0-9]{9,}|[xX][0-9a-fA-F]{9,});?")

_ELEMENTS = {
    "dropped": "script style template noscript iframe noembed noframes svg math",
    "paragraph": "address article aside blockquote body details dialog div dl fieldset figure "
    "footer form h1 h2 h3 h4 h5 h6 header hr main nav ol p pre section table title ul",
    "line": "br caption dd dt figcaption legend li option summary tr",
    "cell": "td th",
}
_ROLE = {name: role for role, names in _ELEMENTS.items() for name in names.split()}
_SEPARATOR = {"paragraph": "\n\n", "line": "\n", "cell": " "}


class _Piece(NamedTuple):
    text: str  # before the tag
    tag: str  # in lower case; empty at the end of the page
    is_end: bool


def text_of_html(page: str) -> str:
    """Return the text of a page, with its entities decoded."""
    text = _Text()
    for piece in _pieces(page):
        text.add(_unescaped(piece.text))
        if piece.tag == "pre":
            text.is_preformatted = not piece.is_end
        text.separate(_SEPARATOR.get(_ROLE.get(piece.tag, ""), ""))
    return text.whole()


class _Text:
    """Collects text; of the separators between two pieces, the strongest wins."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._separator = ""
        self.is_preformatted = False

    def add(self, text: str) -> None:
        if self.is_preformatted:
            if text:
                self._append(text)
            return
        words = _SPACE.sub(" ", text)
        if words.startswith(" "):
            self.separate(" ")
        if words.strip(" "):
            self._append(words.strip(" "))
            if words.endswith(" "):
                self.separate(" ")

    def separate(self, separator: str) -> None:
        strength = ("", " ", "\n", "\n\n").index
        self._separator = max(self._separator, separator, key=strength)

    def whole(self) -> str:
        return "".join(self._parts)

    def _append(self, text: str) -> None:
        self._parts += [self._separator, text] if self._parts else [text]
        self._separator = ""


def _pieces(page: str) -> Iterator[_Piece]:
    """Yield text and the tag behind it; comments and dropped elements only separate texts."""
    place = 0
    while place < len(page):
        opening = _OPENING.search(page, place)
        if opening is None:
            yield _Piece(page[place:], "", False)
            return
        text = page[place : opening.start()]
        name = _NAME.match(page, opening.start())
        if name is None:
            yield _Piece(text, "", False)
            place = _after_comment(page, opening.start())
            continue
        tag, is_end = name[2].lower(), bool(name[1])
        yield _Piece(text, tag, is_end)
        attributes = _ATTRIBUTES.match(page, name.end())
        if attributes is None:
            return
        place = attributes.end()
        if is_end or page.startswith("/>", place - 2):
            continue
        if _ROLE.get(tag) == "dropped":
            place = _start_of_end_tag(page, tag, place)
        elif tag == "title":  # text only, whatever is in it
            end = _start_of_end_tag(page, tag, place)
            yield _Piece(page[place:end], "", False)
            place = end


def _after_comment(page: str, start: int) -> int:
    """Return where a comment, a doctype or a processing instruction ends."""
    mark = "-->" if page.startswith("<!--", start) else ">"
    end = page.find(mark, start + 2)
    return len(page) if end < 0 else end + len(mark)


def _start_of_end_tag(page: str, tag: str, place: int) -> int:
    end = re.compile(rf"</{tag}(?=[\s/>])", re.IGNORECASE).search(page, place)
    return len(page) if end is None else end.start()


def _unescaped(text: str) -> str:
    """Decode entities; a number beyond every character would be refused as too long."""
    return html.unescape(_HUGE_NUMBER.sub("\ufffd", text)) if "&" in text else text
