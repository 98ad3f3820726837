"""Patterns of JSON Schema, which are ECMA-262's, as the regex library reads them.

`$` is the very end and not the place before a last newline; `\\d`, `\\w` and `\\b` are ASCII; `\\s`
is what ECMA-262 calls white space and line terminators; a dot is no line terminator.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # 20 ms at run time, so not before a pattern is wanted
    import regex

_CLASSES = {
    "d": "0-9",
    "D": r"\x00-/:-\U0010ffff",
    "w": "A-Za-z0-9_",
    "W": r"\x00-/:-@\[-\^`{-\U0010ffff",
    "s": r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff",
    "S": r"\x00-\x08\x0e-\x1f!-\x9f\xa1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e"
    r"\u2030-\u205e\u2060-\u2fff\u3001-\ufefe\uff00-\U0010ffff",
}
_WORD = f"[{_CLASSES['w']}]"
_BOUNDARIES = {
    "b": f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))",
    "B": f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))",
}
_DOT = r"[^\n\r\u2028\u2029]"
_CODE_POINT = re.compile(r"\\u\{([0-9A-Fa-f]{1,6})\}")
_GROUP = re.compile(r"\\k<([^>]*)>")
_PROPERTY = re.compile(r"\\[pP]\{[^}]*\}")
_COUNT = re.compile(r"\{\d+(,\d*)?\}")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> "regex.Pattern[str]":
    """Return a pattern ready to search. Raises `ValueError` for one that can't be used."""
    return ready(translated(pattern), pattern)


@lru_cache(maxsize=256)
def ready(translated_pattern: str, pattern: str | None = None) -> "regex.Pattern[str]":
    """Return a translated pattern ready to search. Raises `ValueError`; `pattern` is what it says.

    A search of the library ends at its `timeout`, with `TimeoutError`.
    """
    import regex

    try:
        return regex.compile(translated_pattern, regex.VERSION0)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        shown = translated_pattern if pattern is None else pattern
        raise ValueError(f"the pattern {shown!r} can't be used ({error})") from None


def translated(pattern: str) -> str:
    """Return a pattern in the words of the library."""
    written: list[str] = []
    place, in_class = 0, False
    while place < len(pattern):
        piece, taken = _piece(pattern, place, in_class=in_class)
        if piece == "[" and not in_class:
            in_class = True
        elif piece == "]" and in_class:
            in_class = False
        written.append(piece)
        place += taken
    return "".join(written)


def _piece(pattern: str, place: int, *, in_class: bool) -> tuple[str, int]:
    """Return what stands for the pattern at a place, and how many characters it stands for."""
    character = pattern[place]
    if character == "\\":
        return _escape(pattern, place, in_class=in_class)
    if in_class:
        return ("\\[", 1) if character == "[" else (character, 1)
    if character == "$":
        return r"\Z", 1
    if character == ".":
        return _DOT, 1
    if character == "{" and not _COUNT.match(pattern, place):
        return r"\{", 1
    if pattern.startswith("[^]", place):  # any character at all
        return r"[\s\S]", 3
    if pattern.startswith("[]", place):  # none
        return r"(?!)", 2
    if pattern.startswith("(?<", place) and pattern[place + 3 : place + 4] not in ("=", "!"):
        return "(?P<", 3
    return character, 1


def _escape(pattern: str, place: int, *, in_class: bool) -> tuple[str, int]:
    letter = pattern[place + 1 : place + 2]
    if letter in _CLASSES:
        return (_CLASSES[letter] if in_class else f"[{_CLASSES[letter]}]"), 2
    if letter in _BOUNDARIES and not in_class:
        return _BOUNDARIES[letter], 2
    found = _PROPERTY.match(pattern, place)
    if found is not None:
        return found[0], len(found[0])
    found = _CODE_POINT.match(pattern, place)
    if found is not None:
        return f"\\U{int(found[1], 16):08x}", len(found[0])
    found = _GROUP.match(pattern, place)
    if found is not None:
        return f"(?P={found[1]})", len(found[0])
    if letter.isalpha() and letter not in "bBfnrtvxu":  # in ECMA-262 it is the mere letter
        return letter, 2
    return pattern[place : place + 2], 2
