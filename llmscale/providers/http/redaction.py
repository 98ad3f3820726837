"""A key in what a server sends back is taken out before anything of it is kept or said.

Servers repeat a key that they refuse, and some gateways repeat whole requests. It is found as it
is, as in a URL, as in JSON, and in base64; what else a server may make of it is not.
"""

import base64
from collections.abc import Iterator
from urllib.parse import quote

import orjson

MARK = "***"
MIN_CHARACTERS = 16
"""Of a key that is taken out of answers: a shorter one may be a word, as servers that need no key
are given `ollama` or `EMPTY`. Out of errors every key is taken."""


class Redaction:
    """Takes one key out of texts; None: there is nothing to take out."""

    def __init__(self, secret: str | None) -> None:
        self._of_errors = _forms_of(secret) if secret else ()
        is_word = secret is None or len(secret) < MIN_CHARACTERS
        self._of_answers = () if is_word else self._of_errors

    def of_text(self, text: str) -> str:
        """Return a text of an error without the key."""
        return _without(text.encode(errors="replace"), self._of_errors).decode()

    def of_error(self, raw: bytes) -> bytes:
        """Return the body of an error without the key."""
        return _body_without(raw, self._of_errors)

    def of_answer(self, raw: bytes) -> bytes:
        """Return the body of an answer without the key."""
        return _body_without(raw, self._of_answers)


def _forms_of(secret: str) -> tuple[bytes, ...]:
    """Return the ways in which a key may be written, each of them once."""
    forms = [orjson.dumps(secret)[1:-1], secret.encode(), quote(secret, safe="").encode()]
    if len(secret) >= MIN_CHARACTERS:
        forms += _in_base64(secret.encode())
    forms += [form.replace(b"/", b"\\/") for form in forms]  # as some write JSON
    return tuple(dict.fromkeys(forms))


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """Yield what base64 has of it wherever it begins: less what its neighbours decide too."""
    for before, first in enumerate((0, 2, 3)):
        end = (before + len(secret)) * 8 // 6
        for alphabet in (b"+/", b"-_"):
            yield base64.b64encode(bytes(before) + secret, alphabet)[first:end]


def _body_without(raw: bytes, forms: tuple[bytes, ...]) -> bytes:
    raw = _without(raw, forms)
    if not forms or b"\\" not in raw or b"\\u" not in raw:  # one byte is found faster than two
        return raw
    # any character may be written as an escape; this way it is written as such
    try:
        written = orjson.dumps(orjson.loads(raw))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # a ValueError and a TypeError
        return raw
    found = _without(written, forms)
    return raw if found == written else found


def _without(raw: bytes, forms: tuple[bytes, ...]) -> bytes:
    for form in forms:
        if form in raw:
            raw = raw.replace(form, MARK.encode())
    return raw
