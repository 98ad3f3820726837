"""What makes two requests the same: everything that changes the answer, and nothing else.

A key is the SHA-256 of canonical JSON (sorted keys, no spaces), so it is the same in every process
and never a collision in practice. It holds every field of `Request`: one that does not change the
answer would have to be left out by name.
"""

import hashlib

import msgspec

from llmscale.core.records import SAMPLING_FIELDS, Request

KEY_VERSION = 2
"""Raised when the same fields come to mean another answer; older entries are then never hit."""

KEY_FIELDS = (
    "model",  # "provider/name"; not the endpoint that serves it
    "messages",
    "text",
    "dimensions",
    *SAMPLING_FIELDS,
    "extra",
    "sample",
)
"""Every field of `Request` that changes the answer; a test holds this against `Request`."""

KIND = "chat"

_canonical = msgspec.json.Encoder(order="deterministic")
_NEVER_SHOWN = frozenset({"messages", "text"})  # what people ask, however short it is
_PLAIN_LENGTH = 64  # of a field that an entry repeats as it is


def key_of(request: Request) -> str:
    """Return the key of a request, 64 hex digits."""
    return hashlib.sha256(canonical(request)).hexdigest()


def canonical(request: Request) -> bytes:
    """Return the canonical JSON that is hashed: the fields that are set, in their order."""
    return _canonical.encode((KEY_VERSION, KIND, request))


def fingerprint(request: Request) -> dict[str, str]:
    """Return each field in short, so that two keys that differ can be told apart by their fields.

    A short value is itself, a long one (a prompt, a schema) the first 16 hex digits of its SHA-256:
    the fingerprint of an entry never repeats a prompt.
    """
    found = {}
    for name in KEY_FIELDS:
        value = getattr(request, name)
        if value is not None:
            encoded = _canonical.encode(value)
            found[name] = _short(name, encoded)
    return found


def differing_fields(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the names of the fields in which two fingerprints differ."""
    return [name for name in KEY_FIELDS if one.get(name) != other.get(name)]


def _short(name: str, encoded: bytes) -> str:
    if name not in _NEVER_SHOWN and len(encoded) <= _PLAIN_LENGTH:
        return encoded.decode()
    return f"sha256:{hashlib.sha256(encoded).hexdigest()[:16]}"
