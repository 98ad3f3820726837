"""A key that a server repeats is found however it is written, and nothing else is taken out."""

import base64
import json
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.providers.http.redaction import MIN_CHARACTERS, Redaction

KEY = 'sk-canary/01+23&"45\\6789abcdef'
PLAIN = "sk-canary-0123456789abcdef"


def written(key: str) -> dict[str, bytes]:
    """Return JSON bodies in which a server may repeat a key, by how it is written."""
    in_base64 = {
        f"base64 {name} behind {len(before)}": encode(f"{before}{key}: after".encode()).decode()
        for before in ("", "B", "Be", "Bearer ")
        for name, encode in (("usual", base64.b64encode), ("url", base64.urlsafe_b64encode))
    }
    texts = {"plain": key, "url": quote(key, safe="")} | in_base64
    bodies = {name: orjson.dumps({"a": [f"x {text} y"]}) for name, text in texts.items()}
    escaped = "".join(f"\\u{ord(c):04x}" for c in key)
    bodies["every character escaped"] = b'{"a": ["x %s y"]}' % escaped.encode()
    bodies["slashes escaped"] = orjson.dumps({"a": [f"x {key} y"]}).replace(b"/", b"\\/")
    bodies["no JSON"] = f"<p>{key}</p>".encode()
    return bodies


CASES = [(key, name, body) for key in (KEY, PLAIN) for name, body in written(key).items()]


@pytest.mark.parametrize(
    ("key", "body"), [(k, b) for k, _, b in CASES], ids=[f"{n}, {k[:10]}" for k, n, _ in CASES]
)
def test_a_key_is_taken_out_of_answers_and_errors_however_it_is_written(
    key: str, body: bytes
) -> None:
    for taken_out in (Redaction(key).of_answer, Redaction(key).of_error):
        left = taken_out(body)
        assert b"***" in left
        assert key[4:-4].encode() not in left
        for text in _texts(left):
            assert key[:2] not in _decoded(text)
            assert key[-2:] not in _decoded(text)


def _texts(body: bytes) -> list[str]:
    if body.startswith(b"<"):
        return []
    (text,) = orjson.loads(body)["a"]  # what is left is JSON, and around the key unchanged
    assert text[:2] + text[-2:] == "x  y"
    return [text]


def _decoded(text: str) -> str:
    """Return what base64 on both sides of the mark stands for."""
    before, _, after = text[2:-2].partition("***")
    whole = before + "A" * (-len(before) % 4), after[len(after) % 4 :]
    return "".join(base64.b64decode(part, b"-_").decode("latin-1") for part in whole)


def test_a_text_of_an_error_loses_the_key() -> None:
    assert Redaction(PLAIN).of_text(f"no answer to {PLAIN}, {PLAIN}") == "no answer to ***, ***"


@pytest.mark.parametrize("key", ["EMPTY", "ollama", "x" * (MIN_CHARACTERS - 1)])
def test_a_short_key_may_be_a_word_and_is_taken_out_of_errors_alone(key: str) -> None:
    body = orjson.dumps({"a": f"{key} is what I was given"})
    assert Redaction(key).of_answer(body) == body
    assert Redaction(key).of_error(body) == orjson.dumps({"a": "*** is what I was given"})
    assert Redaction(key).of_text(key) == "***"


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_nothing_is_taken_out(key: str | None) -> None:
    redaction = Redaction(key)
    assert redaction.of_answer(b"\\u0041") == redaction.of_error(b"\\u0041") == b"\\u0041"
    assert redaction.of_text("text") == "text"


@given(st.recursive(st.none() | st.text() | st.integers(0, 9), st.lists))
def test_an_answer_without_the_key_stays_as_it_is_to_the_byte(answer: Any) -> None:
    for body in (orjson.dumps(answer), json.dumps(answer).encode()):
        assert Redaction(PLAIN).of_answer(body) is body
