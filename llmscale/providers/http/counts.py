"""Token counts as servers write them. What can't be read is unknown, and never costs the answer."""

from collections.abc import Mapping
from typing import Any

MAX_COUNT = 10**9  # tokens of a call; more is no count, and sums stay within 64 bits


class Counts:
    """Reads fields of one usage object, and notes which of them could not be read."""

    def __init__(self, usage: Any) -> None:
        self._usage = usage if isinstance(usage, Mapping) else {}
        self._is_none = usage is None
        self.is_odd = not self._is_none and not isinstance(usage, Mapping)
        self.unknown: list[str] = []

    def read(self, name: str, field: str) -> int:
        """Return the count of a field, 0 where it is absent or unreadable.

        `name`: what it is called where it is unknown.
        """
        value = whole(self._usage.get(field, 0))
        if value is None or self.is_odd:
            self.unknown.append(name)
        return value or 0

    def within(self, field: str) -> "Counts":
        """Return what reads the details of a field; what is no object says nothing."""
        inner = self._usage.get(field)
        return Counts(inner if isinstance(inner, Mapping) else None)


def whole(value: Any) -> int | None:
    """Return a count: of 9, 9.0, "9" and null, which is 0. None: it can't be read."""
    if value is None:
        return 0
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value) if len(value) < 20 else -1
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_COUNT:  # a bool is an int too
        return None
    return value
