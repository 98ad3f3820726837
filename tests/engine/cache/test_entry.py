"""A stored answer as bytes: comes back whole, or is refused; nothing in between."""

import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmscale.core.cache_records import Entry
from llmscale.core.records import Reply, Usage
from llmscale.engine.cache import entry as entries
from llmscale.engine.cache.entry import RefusedValue, seal, unseal
from tests.engine.cache import entry_of, reply, request

KEY = "ab" * 32
OTHER_KEY = "ab" * 31 + "ac"
HEADER_BYTES = 18

SMALL = entry_of(request())
BIG = Entry(reply("so much to say, " * 500), 1.5, {"model": '"openai/m"'})
CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"ä": 1}'}}]

Json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
counts = st.integers(0, 10**9)
replies = st.builds(
    Reply,
    text=st.none() | st.text(max_size=3000),
    finish_reason=st.sampled_from(["stop", "tool_calls"]),
    model=st.text(),
    usage=st.builds(Usage, counts, counts, counts, counts, counts),
    tool_calls=st.none() | st.lists(Json, max_size=2),
    cost_usd=st.none() | st.floats(0, 1e6),
    endpoint=st.text(),
    attempts=st.integers(0, 100),
    latency_s=st.floats(0, 1e6),
)


@given(replies, st.floats(0, 1e12), st.dictionaries(st.text(), st.text(), max_size=3))
@example(reply("\x00 \u2028 \U0001f600 é \x1b[2J"), 0.0, {})
@example(reply(None, tool_calls=CALLS, finish_reason="tool_calls"), 0.0, {})
def test_an_entry_comes_back_as_it_was(
    answer: Reply, created: float, fingerprint: dict[str, str]
) -> None:
    entry = Entry(answer, created, fingerprint)
    assert unseal(KEY, seal(KEY, entry)) == entry


def test_a_long_answer_is_compressed_and_comes_back_whole() -> None:
    sealed = seal(KEY, BIG)
    assert len(sealed) < len(BIG.reply.text or "") / 10
    assert unseal(KEY, sealed) == BIG


def test_a_short_answer_is_stored_as_it_is() -> None:
    assert b'"A:' in seal(KEY, SMALL)


@pytest.mark.parametrize("entry", [SMALL, BIG], ids=["plain", "compressed"])
def test_every_changed_byte_is_found_out(entry: Entry) -> None:
    sealed = seal(KEY, entry)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 0x01
        with pytest.raises(RefusedValue):
            unseal(KEY, bytes(changed))


@given(st.sampled_from([SMALL, BIG]), st.data())
def test_any_change_of_any_byte_is_found_out(entry: Entry, data: st.DataObject) -> None:
    changed = bytearray(seal(KEY, entry))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedValue):
        unseal(KEY, bytes(changed))


@pytest.mark.parametrize("entry", [SMALL, BIG], ids=["plain", "compressed"])
def test_a_cut_or_a_longer_value_is_found_out(entry: Entry) -> None:
    sealed = seal(KEY, entry)
    for length in range(len(sealed)):
        with pytest.raises(RefusedValue):
            unseal(KEY, sealed[:length])
    with pytest.raises(RefusedValue):
        unseal(KEY, sealed + b" ")


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(RefusedValue):
        unseal(KEY, value)


@pytest.mark.parametrize("value", [None, "text", 5, 1.5, memoryview(seal(KEY, SMALL)), [], ""])
def test_what_is_not_bytes_is_refused(value: object) -> None:
    with pytest.raises(RefusedValue, match="not a stored answer"):
        unseal(KEY, value)


@pytest.mark.parametrize("entry", [SMALL, BIG], ids=["plain", "compressed"])
def test_a_value_that_was_moved_to_another_key_is_refused(entry: Entry) -> None:
    with pytest.raises(RefusedValue, match="stored under another key"):
        unseal(OTHER_KEY, seal(KEY, entry))


def test_a_value_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "VERSION", 2)
    newer = seal(KEY, SMALL)
    assert unseal(KEY, newer) == SMALL
    monkeypatch.undo()
    with pytest.raises(RefusedValue, match=r"another version \(2\)"):
        unseal(KEY, newer)


def sealed_by_hand(payload: bytes, *, compressed: bool = False, compression: int = 0) -> bytes:
    """Return a value with a seal that fits: what someone makes who knows the format."""
    if compressed:
        payload, compression = zlib.compress(payload), 1
    return bytes((entries.VERSION, compression)) + entries._seal_of(KEY, payload) + payload


def test_a_value_that_is_made_by_hand_is_read_or_the_tests_below_test_nothing() -> None:
    payload = entries._encoder.encode(SMALL)
    assert unseal(KEY, sealed_by_hand(payload)) == SMALL
    assert unseal(KEY, sealed_by_hand(payload, compressed=True)) == SMALL


def test_an_unknown_compression_is_refused() -> None:
    payload = entries._encoder.encode(SMALL)
    with pytest.raises(RefusedValue):
        unseal(KEY, sealed_by_hand(payload, compression=2))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"reply":1,"created":0,"fingerprint":{}}',
        b'{"reply":{"text":"\xff"},"created":0,"fingerprint":{}}',
        b'{"reply":{},"created":0,"fingerprint":{}',
        b"\x80\x04\x8c\x05posix\x94.",  # how a pickle begins
        pytest.param(b'{"reply":' + b"[" * 100_000, id="deep"),
        pytest.param(
            entries._encoder.encode(SMALL)[:-1] + b',"x":' + b"[" * 100_000, id="deep and unknown"
        ),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_sealed_payload_that_is_no_answer_is_refused(payload: bytes, compressed: bool) -> None:
    with pytest.raises(RefusedValue):
        unseal(KEY, sealed_by_hand(payload, compressed=compressed))


def test_tool_calls_too_deep_for_the_decoder_are_refused() -> None:
    text = entries._encoder.encode(Entry(reply(None, tool_calls=["?"]), 0.0, {}))
    deep = text.replace(b'"?"', b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(RefusedValue):
        unseal(KEY, sealed_by_hand(deep))


def test_a_sealed_payload_that_does_not_decompress_is_refused() -> None:
    with pytest.raises(RefusedValue):
        unseal(KEY, sealed_by_hand(b"no zlib", compression=1))


def test_a_zip_bomb_is_refused_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    bound_bytes = 100_000
    monkeypatch.setattr(entries, "_MAX_PAYLOAD_BYTES", bound_bytes)
    payload = entries._encoder.encode(Entry(reply(" " * 100 * bound_bytes), 0.0, {}))
    bomb = sealed_by_hand(payload, compressed=True)
    del payload
    tracemalloc.start()
    with pytest.raises(RefusedValue, match="larger than any answer"):
        unseal(KEY, bomb)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5 * bound_bytes


def test_a_large_answer_within_the_bound_is_no_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = entries._encoder.encode(BIG)
    monkeypatch.setattr(entries, "_MAX_PAYLOAD_BYTES", len(payload))
    assert unseal(KEY, sealed_by_hand(payload, compressed=True)) == BIG


def test_a_stored_answer_may_have_fields_that_a_later_release_added() -> None:
    payload: Any = entries._encoder.encode(SMALL).replace(b'"created"', b'"later":1,"created"')
    assert unseal(KEY, sealed_by_hand(payload)) == SMALL
