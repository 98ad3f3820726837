"""The `CacheAdmin` on this disk: a `Store` behind coroutines, which block while they work."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from llmscale.core.cache_records import Contents, Entry, Pruned, StoredEntry
from llmscale.engine.cache.store import Store


class DiskAdmin:
    """For commands that do nothing else meanwhile. Raises what the store raises."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Entry]:
        """Return the entries of those keys that have a usable one."""
        return self._store.get_many(list(keys))

    async def holds(self, keys: Collection[str]) -> set[str]:
        """Return the keys that have an entry, usable or not."""
        return {key for key in keys if self._store.holds(key)}

    async def entries(self) -> AsyncIterator[StoredEntry]:
        """Yield every usable entry, ordered by key."""
        for key, model, entry in self._store.items():
            yield StoredEntry(key, entry, model)

    async def add(self, entries: Sequence[StoredEntry]) -> int:
        """Store entries in place of those with the same keys; return their number."""
        return self._store.add(entries)

    async def contents(self) -> Contents:
        """Count what is stored."""
        return self._store.contents()

    async def count(self, model_pattern: str, older_than_s: float | None) -> int:
        """Count the entries that `clear` would remove."""
        return self._store.count(model_pattern, older_than_s)

    async def clear(self, model_pattern: str, older_than_s: float | None) -> int:
        """Remove entries by model (shell pattern) and age; return their number."""
        return self._store.clear(model_pattern, older_than_s)

    async def prune(self) -> Pruned:
        """Remove expired entries, then evict down to the size limit."""
        return Pruned(self._store.expire(), self._store.evict())

    async def aclose(self) -> None:
        """Close the file."""
        self._store.close()
