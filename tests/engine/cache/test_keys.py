"""What makes two requests one: every field that changes the answer, in canonical form."""

import hashlib
import itertools
import json
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.records import Request
from llmscale.engine.cache import keys
from llmscale.engine.cache.keys import KEY_FIELDS, canonical, differing_fields, fingerprint, key_of
from tests.engine.cache import request

NOT_IN_THE_KEY: frozenset[str] = frozenset()
"""Fields of `Request` that do not change the answer, each with its reason beside it."""

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
PLAIN: dict[str, Any] = {
    "model": "openai/m",
    "messages": [{"role": "user", "content": "hello"}],
    "text": "hello",
    "dimensions": 256,
    "max_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 1,
    "stop": ["END"],
    "tools": [TOOL],
    "tool_choice": "auto",
    "response_format": {"type": "json_object"},
    "extra": {"top_k": 3},
    "sample": 1,
}
OTHER: dict[str, list[Any]] = {
    "model": ["openai/m2", "anthropic/m", "openai/M"],
    "messages": [
        [{"role": "user", "content": "hello "}],
        [{"role": "system", "content": "hello"}],
        [{"role": "user", "content": "hello"}, {"role": "user", "content": "hello"}],
        [{"role": "user", "content": "hello", "name": "x"}],
    ],
    "text": ["Hello", "", None],
    "dimensions": [255, None],
    "max_tokens": [101, None],
    "temperature": [0.0, 0.9, None],
    "top_p": [0.5, 1.0, None],
    "seed": [2, 0, None],
    "stop": [["END", "STOP"], ["end"], [], None],
    "tools": [[], [TOOL, TOOL], None],
    "tool_choice": ["none", {"type": "auto"}, None],
    "response_format": [{"type": "text"}, {"type": "json_object", "json_schema": {}}, None],
    "extra": [{"top_k": 4}, {"top_k": "3"}, {"top_k": 3.0}, {}, None],
    "sample": [0, 2],
}
"""Other values for each field; a field of `Request` without any fails a test."""

PINNED = Request(**PLAIN)
PINNED_KEY = "3c475b3cf86413e72aac90786b00fb27eb84196ab05aebd20e71ad211085d05c"

Json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def test_every_field_of_a_request_is_declared_in_or_out_of_the_key() -> None:
    declared = [*KEY_FIELDS, *NOT_IN_THE_KEY]
    assert sorted(declared) == sorted(Request.__struct_fields__)


@pytest.mark.parametrize("field", KEY_FIELDS)
def test_a_field_that_changes_the_answer_changes_the_key(field: str) -> None:
    found = {key_of(request(**PLAIN | {field: value})) for value in [PLAIN[field], *OTHER[field]]}
    assert len(found) == 1 + len(OTHER[field])


@pytest.mark.parametrize("field", sorted(set(KEY_FIELDS) - {"model", "messages", "sample"}))
def test_a_field_that_is_not_set_is_not_the_same_as_one_that_is(field: str) -> None:
    assert key_of(request(**{field: PLAIN[field]})) != key_of(request())


def test_no_field_can_be_taken_for_another() -> None:
    names = ("dimensions", "max_tokens", "temperature", "top_p", "seed", "tool_choice", "sample")
    fields: list[dict[str, Any]] = [{name: 1} for name in names]
    ones = [request(**field) for field in fields]
    nested = [request(extra={"seed": 1}), request(tool_choice={"seed": 1}), request(text="1")]
    assert len({key_of(one) for one in [*ones, *nested]}) == len(ones) + len(nested)


def test_a_key_is_64_hex_digits() -> None:
    assert len(bytes.fromhex(key_of(PINNED))) == 32
    assert key_of(PINNED) == key_of(PINNED).lower()


def test_a_key_is_the_same_in_every_process_and_release() -> None:
    """A change here makes every stored answer a miss: raise KEY_VERSION, and mean it."""
    assert keys.KEY_VERSION == 3
    assert key_of(PINNED) == PINNED_KEY
    assert hashlib.sha256(canonical(PINNED)).hexdigest() == PINNED_KEY


def test_the_canonical_form_is_sorted_and_has_no_spaces() -> None:
    found = canonical(request("é", seed=1, temperature=0.0, extra={"b": {"d": 1, "c": 2}, "a": 3}))
    assert (
        found
        == (
            '[3,{"extra":{"a":3,"b":{"c":2,"d":1}},"messages":[{"content":"é","role":"user"}],'
            '"model":"openai/m","seed":1,"temperature":0.0}]'
        ).encode()
    )


def test_a_field_that_is_not_listed_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    without = [name for name in KEY_FIELDS if name != "seed"]
    monkeypatch.setattr(keys, "KEY_FIELDS", without)
    monkeypatch.setattr(keys, "_values_of", attrgetter(*without))
    monkeypatch.setattr(keys, "_DEFAULTS", attrgetter(*without)(Request(model="")))
    assert key_of(request(seed=1)) == key_of(request(seed=2)) == key_of(request())


def test_a_field_that_is_not_set_is_not_in_the_canonical_form() -> None:
    """So that a new field of `Request` leaves the keys of all who do not use it as they are."""
    unset: dict[str, Any] = {"max_tokens": None, "stop": None, "extra": None, "sample": 0}
    assert canonical(request(**unset)) == canonical(request())
    assert b"null" not in canonical(request(**unset))


def test_another_key_version_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(PINNED)
    monkeypatch.setattr(keys, "KEY_VERSION", keys.KEY_VERSION + 1)
    assert key_of(PINNED) != before


def reversed_objects(value: Any) -> Any:
    """Return the same JSON with the keys of every object in reverse order."""
    if isinstance(value, dict):
        return {name: reversed_objects(value[name]) for name in reversed(value)}
    return [reversed_objects(one) for one in value] if isinstance(value, list) else value


@given(Json)
def test_the_order_of_keys_in_an_object_does_not_matter(value: Any) -> None:
    messages = [{"role": "user", "content": "x", "parts": value}]
    one = request(messages=messages, extra={"a": value, "b": 1})
    other = request(messages=reversed_objects(messages), extra={"b": 1, "a": value})
    assert key_of(one) == key_of(other)
    assert fingerprint(one) == fingerprint(other)


@given(Json, Json)
def test_keys_are_equal_only_where_the_json_is(one: Any, other: Any) -> None:
    is_same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (key_of(request(extra={"x": one})) == key_of(request(extra={"x": other}))) == is_same


def test_strings_that_collide_under_a_short_hash_do_not_collide_here() -> None:
    """Java's String.hashCode is the same for all of these."""
    halves = ("Aa", "BB")
    texts = ["".join(parts) for parts in itertools.product(halves, repeat=6)]
    assert len({key_of(request(text)) for text in texts}) == 64


@pytest.mark.parametrize("values", [(1, True, "1", [1], 1.0), (None, "null", "", [], {}, 0, False)])
def test_values_that_python_takes_for_equal_are_different_json(values: tuple[Any, ...]) -> None:
    found = {key_of(request(extra={"x": value})) for value in values}
    assert len(found) == len(values)


def test_a_fingerprint_never_repeats_a_prompt() -> None:
    found = fingerprint(request("s3cret", response_format={"type": "s" * 100}))
    assert set(found) == {"model", "messages", "response_format", "sample"}
    assert found["messages"].startswith("sha256:")
    assert found["response_format"].startswith("sha256:")
    assert len(found["messages"]) == len("sha256:") + 16


def test_a_fingerprint_never_repeats_a_text_that_is_embedded_however_short() -> None:
    found = fingerprint(Request(model="openai/v", text="s3cret"))
    assert "s3cret" not in str(found)
    assert found["text"].startswith("sha256:")


def test_a_fingerprint_shows_short_values_as_they_are() -> None:
    found = fingerprint(request(temperature=0.5, stop=["END"], sample=2))
    assert found["model"] == '"openai/m"'
    assert (found["temperature"], found["stop"], found["sample"]) == ("0.5", '["END"]', "2")


@pytest.mark.parametrize("field", KEY_FIELDS)
def test_fingerprints_tell_in_which_field_two_requests_differ(field: str) -> None:
    one = fingerprint(PINNED)
    for value in OTHER[field]:
        other = fingerprint(request(**PLAIN | {field: value}))
        assert differing_fields(one, other) == differing_fields(other, one) == [field]
    assert differing_fields(one, one) == []
