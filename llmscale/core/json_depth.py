"""How deep JSON from outside may be nested: what is read must be possible to write again.

orjson reads 1,024 levels but writes only 254, and Python's own recursion ends at 1,000.
"""

from typing import Any

MAX_LEVELS = 128


def is_too_deep(raw: bytes, parsed: Any) -> bool:
    """Tell whether JSON has more than `MAX_LEVELS` levels; `raw` spares most of it the count."""
    if len(raw) <= 2 * MAX_LEVELS or not _opens_more_than(MAX_LEVELS, raw):
        return False
    level = [parsed]
    for _ in range(MAX_LEVELS + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _opens_more_than(limit: int, raw: bytes) -> bool:
    """Tell whether so many brackets may open. A search for each is faster than to count them."""
    for bracket in b"[{":
        at = raw.find(bracket)
        while at >= 0:
            limit -= 1
            if limit < 0:
                return True
            at = raw.find(bracket, at + 1)
    return False


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
