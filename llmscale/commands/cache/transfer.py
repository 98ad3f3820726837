"""`llmscale cache export` and `import`: entries as JSONL, readable by their owner alone."""

import fnmatch
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

import msgspec

from llmscale.commands.cache.opened_cache import with_cache
from llmscale.config import CacheConfig
from llmscale.core.cache_records import Entry, StoredEntry
from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.protocols import CacheAdmin
from llmscale.rows.sources import Line, blocks_of_lines, expand

_GROUP = 500


class _ExportedEntry(msgspec.Struct, frozen=True):
    """One line of an export."""

    key: str
    model: str
    entry: Entry


def export(cache: CacheConfig, path: str, model_pattern: str) -> int:
    """Write entries as JSONL, to standard output for `-`; return their number."""

    async def work(stored: CacheAdmin) -> int:
        count = 0
        with _opened_to_write(path) as file:
            async for key, entry, model in stored.entries():
                if fnmatch.fnmatchcase(model, model_pattern):
                    file.write(msgspec.json.encode(_ExportedEntry(key, model, entry)) + b"\n")
                    count += 1
        return count

    return with_cache(cache, work)


def import_(cache: CacheConfig, path: str) -> int:
    """Store the entries of an export; return their number. Raises `ConfigError` for a bad line."""

    async def work(stored: CacheAdmin) -> int:
        count = 0
        for group in _groups(path):
            count += await stored.add(group)
        await stored.prune()
        return count

    return with_cache(cache, work)


def _opened_to_write(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        return nullcontext(sys.stdout.buffer)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # an existing file keeps its mode
            os.fchmod(descriptor, 0o600)
        return os.fdopen(descriptor, "wb")
    except OSError as error:
        raise StorageError(f"can't write {path}: {error.strerror}") from None


def _groups(path: str) -> Iterator[list[StoredEntry]]:
    group: list[StoredEntry] = []
    for lines in blocks_of_lines(expand([path])):
        for line in lines:
            group.append(_imported(line))
            if len(group) == _GROUP:
                yield group
                group = []
    if group:
        yield group


def _imported(line: Line) -> StoredEntry:
    try:
        found = msgspec.json.decode(line.raw or b"", type=_ExportedEntry)
        if len(bytes.fromhex(found.key)) != 32:
            raise ValueError("a key has 64 hex digits")
    except (ValueError, RecursionError) as error:  # MsgspecError is a ValueError
        raise ConfigError(
            f"{line.source} line {line.number} is not an exported entry: {error}"
        ) from None
    return StoredEntry(found.key, found.entry, found.model)
