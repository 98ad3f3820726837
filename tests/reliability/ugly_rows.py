"""Sixty ugly rows (I01), each with what is to be asked of the server, or None: an error."""

import json
from typing import Any, NamedTuple

from tests.benchmarks.jobs import MODEL

MEGABYTE = 2**20
TOO_LONG = 33 * MEGABYTE  # a line may have 32 MB
EMPTY_PROMPT: list[bytes] = [b'""', b'" \\t\\u2028 "', b"null", b"7", b'["a"]', b"{}"]


class Ugly(NamedTuple):
    """One line without its newline."""

    name: str
    raw: bytes
    asks: str | None  # the prompt; None: the row is an error
    model: str = MODEL


def _says(name: str, prompt: str) -> Ugly:
    """Return a row whose prompt is there as it is, in UTF-8."""
    return Ugly(
        name, b'{"prompt":' + json.dumps(prompt, ensure_ascii=False).encode() + b"}", prompt
    )


def _escaped(name: str, prompt: str) -> Ugly:
    """Return a row whose prompt is there in escapes."""
    return Ugly(name, json.dumps({"prompt": prompt}).encode(), prompt)


def _with(name: str, asked: str | None = "a", **fields: bytes) -> Ugly:
    """Return a row with a plain prompt and further fields as they are written here."""
    more = b"".join(b',"%b":%b' % (field.encode(), raw) for field, raw in fields.items())
    return Ugly(name, b'{"prompt":"a"' + more + b"}", asked)


def _nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


TEXTS = [
    Ugly("a BOM in front", b'\xef\xbb\xbf{"prompt":"first"}', "first"),  # of the file: stays first
    _escaped("NUL", "a\x00b"),
    _escaped("terminal sequences", "\x1b[31mred\x1b]52;c;aGk=\x07\x9b2J"),
    _says("C1 controls", "a\x85b\x9bc"),
    _says("bidi", "abc\u202edef\u2066\u200f"),
    _says("U+2028 and U+2029", "a\u2028b\u2029c"),
    _escaped("the same in escapes", "a\u2028b\u2029c"),
    _says("a BOM inside", "a\ufeffb"),
    _says("no characters", "\ufffe\uffff\U0010ffff"),
    _says("marks upon marks", "e" + "\u0301" * 500),
    _says("joined emoji", "👩‍👩‍👧‍👦🏳️‍🌈"),
    _escaped("a pair of surrogates", "😀"),
    _escaped("backslashes and quotes", '\\"\\\\"\\u0041'),
    _escaped("all below the blank", "".join(map(chr, range(32)))),
    _says("brackets", "[" * 100_000),
    _says("markup", "[/b]<script>alert(1)</script>{field}{{}}%s$(id)"),
    _says("a formula", "=cmd|' /C calc'!A0"),
]
BROKEN_TEXTS = [
    Ugly("a lone surrogate", rb'{"prompt":"\ud800"}', None),
    Ugly("its other half", rb'{"prompt":"\udc00"}', None),
    Ugly("a pair the wrong way round", rb'{"prompt":"\udc00\ud800"}', None),
    Ugly("a surrogate in UTF-8", b'{"prompt":"\xed\xa0\x80"}', None),
    Ugly("an overlong NUL", b'{"prompt":"\xc0\x80"}', None),
    Ugly("half a character", b'{"prompt":"\xe2\x82"}', None),
    Ugly("Latin-1", b'{"prompt":"caf\xe9"}', None),
    Ugly("UTF-16", '{"prompt":"a"}'.encode("utf-16-le"), None),
    Ugly("a raw NUL", b'{"prompt":"a\x00b"}', None),
    Ugly("a raw tab", b'{"prompt":"a\tb"}', None),
    Ugly("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00", None),
]
NUMBERS = [
    _with("NaN", None, metadata=b"NaN"),
    _with("infinity", None, metadata=b"[-Infinity]"),
    _with("1e400", None, metadata=b"1e400"),
    _with("2^63", seed=b"9223372036854775808"),
    _with("2^64", metadata=b"18446744073709551616"),
    _with("a small number", metadata=b"[5e-324,-0.0,1E+2]"),
    _with("a leading zero", None, metadata=b"01"),
    _with("tokens in words", None, max_tokens=b'"many"'),
    _with("a seed that is true", None, seed=b"true"),
]
SHAPES = [
    *(Ugly(f"the prompt {raw!r}", b'{"prompt":' + raw + b"}", None) for raw in EMPTY_PROMPT),
    *(Ugly(f"the row {raw!r}", raw, None) for raw in (b"{}", b"[]", b'"a"', b"null", b"-")),
    Ugly("two in a line", b'{"prompt":"a"}{"prompt":"b"}', None),
    Ugly("a comma too many", b'{"prompt":"a",}', None),
    Ugly("single quotes", b"{'prompt':'a'}", None),
    Ugly("half a row", b'{"prompt":"a', None),
    Ugly("one key twice", b'{"prompt":"a","prompt":"b"}', "b"),
    Ugly("CRLF", b'{"prompt":"crlf"}\r', "crlf"),
    Ugly("blanks around", b' \t{"prompt" : "blanks" } \t', "blanks"),
    _with("126 levels", metadata=_nested(126)),
    _with("129 levels", None, metadata=_nested(129)),
    _with("100,000 levels", None, metadata=_nested(100_000)),
    Ugly("100,000 levels alone", _nested(100_000), None),
    _with("10,000 fields", metadata=json.dumps({f"k{n}": n for n in range(10_000)}).encode()),
    _with("an id that is a list", None, id=b"[1]"),
    _with("an id that is a path", id=b'"../../etc/passwd\\u0000"'),
    Ugly("a model that is a path", b'{"prompt":"a","model":"../../x"}', "a", "../../x"),
    _with("a model that nobody has", None, model=b'"anthropic/x"'),
    Ugly("a stream", b'{"body":{"messages":[{"role":"user"}],"stream":true}}', None),
    Ugly("no messages", b'{"messages":[]}', None),
    Ugly("messages without a role", b'{"messages":[{"content":"a"}]}', None),
]


def ugly_rows() -> list[Ugly]:
    """Return all of them; the largest are made when they are asked for."""
    large = _says("10 MB", "x" * (10 * MEGABYTE))
    too_large = Ugly("33 MB", b'{"prompt":"' + b"x" * TOO_LONG + b'"}', None)
    return [*TEXTS, large, *BROKEN_TEXTS, too_large, *NUMBERS, *SHAPES]


def strictly(raw: bytes) -> Any:
    """Parse JSON as its standard has it: no NaN, no key twice, no bytes that are no text."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key is there twice")
        return found

    text = raw.decode("utf-8")
    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)
