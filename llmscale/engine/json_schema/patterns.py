"""Patterns of JSON Schema, which are ECMA-262's, as Python's `re` reads them.

`$` is the very end and not the place before a last newline, `\\d` and `\\w` are ASCII, `\\s` is
what ECMA-262 calls white space and line terminators.
"""

import re
from functools import lru_cache

_SPACE = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": _SPACE}
_LETTERS = {"L": r"[^\W\d_]", "Letter": r"[^\W\d_]", "N": r"\d", "Nd": r"\d", "Number": r"\d"}
_PROPERTY = re.compile(r"\\p\{([^}]*)\}")
_CODE_POINT = re.compile(r"\\u\{([0-9A-Fa-f]{1,6})\}")
_UNBOUNDED = re.compile(r"[*+]|\{\d+,\}|\{\d*,?\d{3,}")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern ready to search. Raises `ValueError` for one that can't be used."""
    try:
        return re.compile(translated(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern {pattern!r} can't be used ({error})") from None


def translated(pattern: str) -> str:
    """Return a pattern in Python's words. Raises `ValueError` for what Python has no word for."""
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
    if pattern.startswith("[^]", place):  # any character at all
        return r"[\s\S]", 3
    if pattern.startswith("[]", place):  # none
        return r"(?!)", 2
    if pattern.startswith("(?<", place) and pattern[place + 3 : place + 4] not in ("=", "!"):
        return "(?P<", 3
    return character, 1


def _escape(pattern: str, place: int, *, in_class: bool) -> tuple[str, int]:
    letter = pattern[place + 1 : place + 2]
    if letter.lower() in _CLASSES and letter:
        inner = _CLASSES[letter.lower()]
        if letter.islower():
            return (inner if in_class else f"[{inner}]"), 2
        if in_class:
            raise ValueError(f"the pattern {pattern!r} has \\{letter} inside brackets")
        return f"[^{inner}]", 2
    if letter in ("A", "Z", "z", "G"):  # mere letters in ECMA-262
        return letter, 2
    found = _PROPERTY.match(pattern, place)
    if found is not None:
        if found[1] not in _LETTERS or in_class:
            raise ValueError(f"the pattern {pattern!r} has {found[0]}, which is not supported")
        return _LETTERS[found[1]], len(found[0])
    found = _CODE_POINT.match(pattern, place)
    if found is not None:
        return re.escape(chr(int(found[1], 16))), len(found[0])
    if pattern.startswith("\\k<", place):
        return "(?P=" + pattern[place + 3 :].partition(">")[0] + ")", pattern.find(
            ">", place
        ) + 1 - place
    return pattern[place : place + 2], 2


def is_linear(pattern: str) -> bool:
    """Tell whether a search takes no more than the length of the text times a small number.

    So it is where nothing in it repeats without bound, as in dates and codes.
    """
    return _UNBOUNDED.search(pattern) is None and "\\" not in re.sub(r"\\[dwsDWS.\-/]", "", pattern)
