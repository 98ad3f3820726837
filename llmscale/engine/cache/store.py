"""Entries on disk, in diskcache: looked up, added in groups, expired, evicted, counted.

Reads write nothing. Groups are one SQL statement, because each statement of a thread gives the
interpreter away: 64 entries one by one took 150 ms beside a busy event loop, as one statement 2 ms.
Several processes share a folder. Times are seconds since 1970.
"""

import fnmatch
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import DBNAME, EVICTION_POLICY, MODE_BINARY

from llmscale.core.cache_records import Contents, Entry, StoredEntry
from llmscale.engine.cache.bytes_disk import ClosedCache
from llmscale.engine.cache.entry import RefusedValue, seal, unseal
from llmscale.engine.cache.private_files import make_private

T = TypeVar("T")

LOCK_TIMEOUT_S = 60.0
OPEN_TIMEOUT_S = 2.0  # a run does not wait longer for a cache that another process holds
_MAX_EVICTED = 20_000  # entries in one transaction, which other processes wait for
_GROUP = 500  # entries in a statement, of ten parameters or so each
_PAGES_KEPT = 512  # of 4 KB, by each of two threads; diskcache's own 8,192 and its 64 MB of mapped
_MAPPED_BYTES = 0  # file were 90 MB more at a million rows, for a twentieth of a look-up

STORE_ERRORS = (sqlite3.Error, diskcache.Timeout, OSError)
"""What a broken, full or locked cache raises."""


def reason_of(error: Exception) -> str:
    """Return why the store failed, in words for a person."""
    if isinstance(error, diskcache.Timeout):  # whatever keeps a transaction from beginning
        return "it can't be written, or another process holds it"
    if "locked" in str(error):
        return "another process holds it"
    return str(error) or type(error).__name__


# Least recently used, but a look-up does not write: uses are noted in groups, by `note_used`.
_POLICY = "llmscale-used"
EVICTION_POLICY[_POLICY] = {
    "init": "CREATE INDEX IF NOT EXISTS Cache_access_time ON Cache (access_time)",
    "get": None,
    "cull": "SELECT {fields} FROM Cache ORDER BY access_time LIMIT ?",
}


def _check_free(path: Path) -> None:
    """Raise `sqlite3.OperationalError` where another process holds a file for long."""
    with closing(sqlite3.connect(path, timeout=OPEN_TIMEOUT_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


class Store:
    """A folder of stored answers. Every method may raise one of `STORE_ERRORS`."""

    def __init__(self, folder: Path, size_limit_bytes: int, ttl_s: float | None = None) -> None:
        self.folder = folder
        self._ttl_s = ttl_s
        make_private(folder, DBNAME)
        _check_free(folder / DBNAME)
        self._cache = ClosedCache(
            str(folder),
            LOCK_TIMEOUT_S,
            eviction_policy=_POLICY,
            size_limit=size_limit_bytes,
            cull_limit=0,  # never while adding; `evict` does it once a group
            sqlite_cache_size=_PAGES_KEPT,
            sqlite_mmap_size=_MAPPED_BYTES,
            sqlite_checkpoint_fullfsync=1,  # on macOS `fsync` alone may leave a damaged file
        )
        self._refused = 0

    @property
    def refused(self) -> int:
        """Values met that are damaged, of another version, or not ours."""
        return self._refused + int(self._cache.disk.refused)

    def get(self, key: str) -> Entry | None:
        """Return the entry of a key, None where there is none that can be used."""
        return self.get_many((key,)).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the entries that there are of keys, and can be used."""
        found = {}
        for start in range(0, len(keys), _GROUP):
            for key, value in self._values(_padded(keys[start : start + _GROUP])):
                entry = self._usable(key, value)
                if entry is not None:
                    found[key] = entry
        return found

    def _values(self, keys: Sequence[str]) -> list[tuple[str, object]]:
        """Return keys that are there with their values, None where one is not plain bytes."""
        marks = ",".join("?" * len(keys))
        found: list[tuple[str, object]] = self._cache._sql(
            f"SELECT key, {_PLAIN_BYTES} FROM Cache"  # noqa: S608
            f" WHERE key IN ({marks}) AND raw = 1 AND (expire_time IS NULL OR expire_time > ?)",
            (*keys, time.time()),
        ).fetchall()
        return found

    def _read(self, key: str) -> tuple[object, object]:
        """Return the value and the model of a key, both None where it has none."""
        try:
            value, model = self._cache.get(key, tag=True)
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            self._refused += 1  # text, and not even that, where bytes should be
            return None, None
        return value, model

    def _usable(self, key: str, value: object) -> Entry | None:
        try:
            entry = unseal(key, value)
        except RefusedValue:
            self._refused += 1
            return None
        if self._ttl_s is not None and entry.created + self._ttl_s < time.time():
            return None  # it was stored under a longer life
        return entry

    def holds(self, key: str) -> bool:
        """Tell whether there is an entry of a key, be it expired or damaged."""
        found = self._cache._sql("SELECT 1 FROM Cache WHERE key = ? AND raw = 1", (key,))
        return found.fetchone() is not None

    def add(self, group: Sequence[StoredEntry], *, replace: bool = True) -> int:
        """Store a group of entries in one transaction, later ones win; return how many.

        With `replace` False an entry that is there already stays.
        """
        newest = {item.key: item for item in group}
        items = list(newest.values())
        if 0 < len(items) <= _GROUP:  # a statement is a transaction of its own
            return self._insert(items, replace=replace)
        with self._cache.transact():
            return sum(
                self._insert(items[start : start + _GROUP], replace=replace)
                for start in range(0, len(items), _GROUP)
            )

    def note_used(self, keys: Sequence[str]) -> None:
        """Note that entries were hit just now, for the order of eviction."""
        for start in range(0, len(keys), _GROUP):
            part = _padded(keys[start : start + _GROUP])
            marks = ",".join("?" * len(part))
            self._cache._sql(
                f"UPDATE Cache SET access_time = ? WHERE raw = 1 AND key IN ({marks})",  # noqa: S608
                (time.time(), *part),
            )

    def evict(self) -> int:
        """Drop expired entries, then the least recently used until the size limit holds.

        Returns how many were evicted for the limit; expired ones do not count.
        """
        self._drop_expired()
        evicted = 0
        while (excess := self._cache.volume() - self._cache.size_limit) > 0:
            entries = len(self._cache)
            mean_bytes = self._cache.volume() / max(entries, 1)
            found = self._cache._sql(
                "DELETE FROM Cache WHERE rowid IN"
                " (SELECT rowid FROM Cache ORDER BY access_time LIMIT ?)",
                (min(ceil(excess / mean_bytes), _MAX_EVICTED),),
            )
            if not found.rowcount:
                break
            evicted += int(found.rowcount)
        return evicted

    def _drop_expired(self) -> int:
        """Drop by their own time. diskcache does it by hundreds, and skips some of equal times."""
        dropped, now = 0, time.time()
        while True:
            found = self._cache._sql(
                "DELETE FROM Cache WHERE rowid IN"
                " (SELECT rowid FROM Cache WHERE expire_time < ? LIMIT ?)",
                (now, _MAX_EVICTED),
            )
            dropped += int(found.rowcount)
            if found.rowcount < _MAX_EVICTED:
                return dropped

    def expire(self) -> int:
        """Drop what is past its time; return how many entries."""
        dropped = self._drop_expired()
        if self._ttl_s is not None:  # those that were stored under a longer life
            oldest = time.time() - self._ttl_s
            found = self._cache._sql("DELETE FROM Cache WHERE store_time < ?", (oldest,))
            dropped += int(found.rowcount)
        return dropped

    def count(self, model_pattern: str = "*", older_than_s: float | None = None) -> int:
        """Count the entries that `clear` would remove."""
        return sum(
            self._cache._sql(f"SELECT COUNT(*) {chosen}", parameters).fetchone()[0]
            for chosen, parameters in self._chosen(model_pattern, older_than_s)
        )

    def clear(self, model_pattern: str = "*", older_than_s: float | None = None) -> int:
        """Remove entries by model (shell pattern) and age; return how many."""
        return sum(
            self._cache._sql(f"DELETE {chosen}", parameters).rowcount
            for chosen, parameters in self._chosen(model_pattern, older_than_s)
        )

    def _chosen(
        self, model_pattern: str, older_than_s: float | None
    ) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Yield the end of a statement and its parameters, for each model."""
        before = time.time() - (older_than_s or 0.0)
        for model in self.contents().models:
            if fnmatch.fnmatchcase(model, model_pattern):
                yield "FROM Cache WHERE tag = ? AND store_time <= ?", (model, before)

    def contents(self) -> Contents:
        """Count what is stored."""
        now = time.time()
        rows = self._cache._sql("SELECT tag, COUNT(*), SUM(LENGTH(value)) FROM Cache GROUP BY tag")
        models = {str(tag): (int(count), int(size)) for tag, count, size in rows}
        stored = self._cache._sql("SELECT store_time FROM Cache")
        return Contents(
            entries=sum(count for count, _ in models.values()),
            size_bytes=int(self._cache.volume()),
            models=models,
            ages_s=[now - stored_time for (stored_time,) in stored],
        )

    def items(self) -> Iterator[tuple[str, str, Entry]]:
        """Yield the key, the model and the entry of all that can be used."""
        keys = self._cache._sql(
            "SELECT key FROM Cache WHERE raw = 1 AND typeof(key) = 'text'"
            " AND key NOT GLOB '*[^0-9a-f]*' ORDER BY key"
        )
        for (key,) in keys:
            value, model = self._read(key)
            entry = None if value is None else self._usable(key, value)
            if entry is not None:
                yield key, str(model), entry

    def close(self) -> None:
        """Close the file."""
        self._cache.close()

    def _insert(self, items: Sequence[StoredEntry], *, replace: bool) -> int:
        now = time.time()
        parameters: list[Any] = []
        padded = _padded(items)
        for key, entry, model in padded:
            expires = None if self._ttl_s is None else entry.created + self._ttl_s
            parameters += (key, entry.created, expires, now, model, seal(key, entry))
        # size is 0, as diskcache has it for values that are in their row
        rows = ",".join([f"(?,1,?,?,?,0,?,0,{MODE_BINARY},NULL,?)"] * len(padded))
        stored = self._cache._sql(
            "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count,"  # noqa: S608
            f" tag, size, mode, filename, value) VALUES {rows} ON CONFLICT (key, raw) "
            + (_REPLACE if replace else "DO NOTHING"),
            parameters,
        )
        return len(items) if replace else int(stored.rowcount)


_PLAIN_BYTES = (  # as the Disk would have it, and text that can't even be read is none
    f"CASE WHEN mode = {MODE_BINARY} AND filename IS NULL AND typeof(value) = 'blob' THEN value END"
)

_REPLACE = "DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}"
    for column in (
        "store_time",
        "expire_time",
        "access_time",
        "tag",
        "size",
        "mode",
        "filename",
        "value",
    )
)


def _padded(items: Sequence[T]) -> list[T]:
    """Return items with the last one repeated, up to one of few numbers of them.

    For each number there is a statement, of which Python keeps 128, each of a kilobyte an entry.
    """
    step = 1 << max(0, len(items).bit_length() - 3)
    return [*items, *list(items[-1:]) * (-len(items) % step)]
