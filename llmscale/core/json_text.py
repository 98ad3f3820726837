"""JSON as it was written: whole numbers of more than 64 bits keep every digit.

They are ids and keys, with which nobody calculates. Everything else is read and written by the
fastest parser there is.
"""

import re
from typing import Any

import msgspec
import orjson

_LONG_NUMBER = re.compile(rb"\d{19}")


def loads(raw: bytes | str) -> Any:
    """Parse JSON. Raises `ValueError` for what is none."""
    value = orjson.loads(raw)
    found = raw.encode() if isinstance(raw, str) else raw
    return msgspec.json.decode(found) if _LONG_NUMBER.search(found) else value


def dumps(value: Any, option: int = 0) -> bytes:
    """Write JSON. `option`: of orjson. Raises `TypeError` for what JSON can't hold."""
    try:
        return orjson.dumps(value, option=option)
    except TypeError:  # `JSONEncodeError` too; a long number is what is hoped for
        written = msgspec.json.encode(value, enc_hook=_as_list)
        return written + b"\n" if option & orjson.OPT_APPEND_NEWLINE else written


def _as_list(value: Any) -> Any:
    """Return the numbers of an array, which are written as a list."""
    try:
        return value.tolist()
    except AttributeError:
        raise TypeError(f"{type(value).__name__} is not JSON") from None
