"""Text that may be shown: nothing in it can steer a terminal.

Text that a model or a server wrote can end up in a message; everything that could steer a terminal
is taken out of it, or in JSON written as an escape.
"""

import re
from typing import Any

import msgspec
import orjson

# C0 and C1 controls, and the marks that reorder or hide text (Unicode TR 36)
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """Return the text with everything that could steer a terminal shown as U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def printable_json(value: Any) -> str:
    """Return a value, which may hold msgspec structs, as JSON that may be shown on a terminal."""
    raw = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=msgspec.to_builtins)
    return escaped(raw.decode())


def escaped(json: str) -> str:
    """Return the same JSON with everything that could steer a terminal as an escape."""
    return _UNPRINTABLE.sub(_escape, json)


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    if character == "\n":  # between values, never in one
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
