"""`llmscale cache explain`: which rows the cache would answer, and why it would not answer others.

Changes nothing, and never shows the text of a cached request.
"""

from collections.abc import Iterator

import msgspec

from llmscale.commands.cache.opened_cache import with_cache
from llmscale.config import Config
from llmscale.core.protocols import CacheAdmin
from llmscale.core.records import Request
from llmscale.engine.cache.keys import differing_fields, fingerprint, key_of
from llmscale.rows.row_parser import rows_of
from llmscale.rows.sources import Line, blocks_of_lines, expand
from llmscale.runtime.models import Models
from llmscale.runtime.workload import chat_parser

MAX_EXPLAINED = 20


class Miss(msgspec.Struct, frozen=True):
    """A row that the cache would not answer."""

    row: int  # 0-based
    nearest: dict[str, tuple[str, str]] | None  # field: this row's value, the cached one's

    def __str__(self) -> str:
        """Return why, in a sentence."""
        return f"row {self.row}: miss, {self._why()}"

    def _why(self) -> str:
        if self.nearest is None:
            return "the cache is empty"
        if not self.nearest:
            return "its entry is expired or damaged"
        if "messages" in self.nearest:
            return "no entry has these messages"
        changes = (f"{name} {there} (here {here})" for name, (here, there) in self.nearest.items())
        return f"the nearest entry has {', '.join(changes)}"


class Explanation(msgspec.Struct, frozen=True):
    """What the cache would do with rows."""

    hits: int
    bad_rows: int
    misses: int
    explained: list[Miss]  # the first `MAX_EXPLAINED`


def explain(config: Config, row_or_file: str) -> Explanation:
    """Return which rows the cache would answer, and how the others differ from the nearest entry.

    `row_or_file`: a file, or one row as JSON. Raises `ConfigError` and `StorageError`.
    """
    requests, bad_rows = [], 0
    parser = chat_parser(config, Models(config.models))
    for rows in rows_of(parser, _lines(row_or_file), config.files.limit):
        for row in rows:
            if row.request is None:
                bad_rows += 1
            else:
                requests.append((row.index, row.request))
    return with_cache(config.cache, lambda stored: _explained(stored, requests, bad_rows))


def _lines(row_or_file: str) -> Iterator[list[Line]]:
    if row_or_file.lstrip().startswith("{"):
        return iter([[Line("row", 1, row_or_file.encode())]])
    return blocks_of_lines(expand([row_or_file]))


async def _explained(
    stored: CacheAdmin, requests: list[tuple[int, Request]], bad_rows: int
) -> Explanation:
    keyed = [(row, request, key_of(request)) for row, request in requests]
    found = await stored.get_many({key for _, _, key in keyed})
    misses = [(row, request, key) for row, request, key in keyed if key not in found]
    missed = [(row, request) for row, request, _ in misses]
    to_explain = [(row, fingerprint(request)) for row, request in missed[:MAX_EXPLAINED]]
    nearest: dict[int, dict[str, str]] = {}
    held = await stored.holds({key for _, _, key in misses[:MAX_EXPLAINED]})
    unusable = {row for row, _, key in misses[:MAX_EXPLAINED] if key in held}
    if to_explain:
        async for _, entry, _ in stored.entries():
            for row, wanted in to_explain:
                best = nearest.get(row)
                if best is None or _distance(wanted, entry.fingerprint) < _distance(wanted, best):
                    nearest[row] = entry.fingerprint
    explained = [
        Miss(row, {})
        if row in unusable
        else Miss(row, _differences(wanted, nearest[row]) if row in nearest else None)
        for row, wanted in to_explain
    ]
    return Explanation(len(requests) - len(missed), bad_rows, len(missed), explained)


def _distance(one: dict[str, str], other: dict[str, str]) -> tuple[bool, int]:
    """Rank different messages as farther than any other difference."""
    return one.get("messages") != other.get("messages"), len(differing_fields(one, other))


def _differences(wanted: dict[str, str], stored: dict[str, str]) -> dict[str, tuple[str, str]]:
    fields = differing_fields(wanted, stored)
    return {name: (wanted.get(name, "not set"), stored.get(name, "not set")) for name in fields}
