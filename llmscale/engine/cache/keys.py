"""What makes two requests the same: everything that changes the answer, and nothing else.

A key is the SHA-256 of canonical JSON (sorted keys, no spaces), so it is the same in every process
and never a collision in practice. It is built from `KEY_FIELDS`: what is not listed is not hashed.
"""

import hashlib
from operator import attrgetter

import msgspec

from llmscale.core.records import SAMPLING_FIELDS, Request

KEY_VERSION = 3
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
"""The fields that are hashed. A test insists that every other field of `Request` is named there."""

_values_of = attrgetter(*KEY_FIELDS)
_DEFAULTS = _values_of(Request(model=""))
_canonical = msgspec.json.Encoder(order="deterministic")
_NEVER_SHOWN = frozenset({"messages", "text"})  # what people ask, however short it is
_PLAIN_LENGTH = 64  # of a field that an entry repeats as it is


def key_of(request: Request) -> str:
    """Return the key of a request, 64 hex digits."""
    return hashlib.sha256(canonical(request)).hexdigest()


def canonical(request: Request) -> bytes:
    """Return the canonical JSON that is hashed: the key fields that are set, sorted by name."""
    values = zip(KEY_FIELDS, _values_of(request), _DEFAULTS, strict=True)
    fields = {name: value for name, value, default in values if value != default}
    return _canonical.encode((KEY_VERSION, fields))


def fingerprint(request: Request) -> dict[str, str]:
    """Return each field in short, to explain by which fields two keys differ.

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
