"""One stored answer as bytes: JSON, compressed where that pays, sealed with its key.

Layout: version (1 byte), compression (1 byte), seal (16 bytes), payload. The seal is a keyed hash
of the payload under the key of the entry, so that a changed byte and a value that was moved to
another key are both found out. Nothing here is ever unpickled.
"""

import hashlib
import zlib

import msgspec

from llmscale.core.cache_records import Entry

VERSION = 1
_PLAIN, _ZLIB = 0, 1
_HEADER_BYTES = 18
_COMPRESS_FROM_BYTES = 1024
_MAX_PAYLOAD_BYTES = 256 * 1024 * 1024


class RefusedValue(OSError):
    """A stored value that is not what was stored, or not ours."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


def seal(key: str, entry: Entry) -> bytes:
    """Return the bytes that are stored under `key`."""
    payload = _encoder.encode(entry)
    compression = _PLAIN
    if len(payload) >= _COMPRESS_FROM_BYTES:
        payload, compression = zlib.compress(payload, 1), _ZLIB
    return bytes((VERSION, compression)) + _seal_of(key, payload) + payload


def unseal(key: str, value: object) -> Entry:
    """Return the entry that was stored under `key`. Raises `RefusedValue`."""
    if not isinstance(value, bytes) or len(value) < _HEADER_BYTES:
        raise RefusedValue("not a stored answer")
    version, compression = value[0], value[1]
    payload = value[_HEADER_BYTES:]
    if version != VERSION or compression not in (_PLAIN, _ZLIB):
        raise RefusedValue(f"written by another version ({version})")
    if value[2:_HEADER_BYTES] != _seal_of(key, payload):
        raise RefusedValue("changed, or stored under another key")
    try:
        return _decoder.decode(_decompressed(payload) if compression == _ZLIB else payload)
    except (zlib.error, ValueError, RecursionError) as error:  # MsgspecError is a ValueError
        raise RefusedValue(str(error)) from None


def _seal_of(key: str, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16, key=key.encode()[:64]).digest()


def _decompressed(payload: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(payload, _MAX_PAYLOAD_BYTES)
    if unpacker.unconsumed_tail:
        raise RefusedValue("larger than any answer")
    return plain
