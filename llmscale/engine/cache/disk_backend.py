"""The `CacheBackend` on this disk: look-ups at once, entries in groups, failures as misses."""

import logging
from collections.abc import Callable, Collection, Sequence

from llmscale.core.cache_records import Entry, StoredEntry
from llmscale.engine.cache.group_writer import GroupWriter
from llmscale.engine.cache.store import Store, reason_of

log = logging.getLogger(__name__)

MAX_ERRORS = 20  # look-ups that fail before no more are made


class DiskBackend:
    """A `Store` as the cache layer wants it. `replace` False: entries that are there stay."""

    def __init__(self, store: Store, *, replace: bool = True) -> None:
        self._store = store
        self._writer = GroupWriter(store, replace=replace)
        self._errors = 0

    async def get_many(self, keys: Collection[str]) -> dict[str, Entry]:
        """Return the entries of keys, those that are not yet on disk too.

        They are looked up in the thread of the event loop: it takes three microseconds an entry,
        less than a switch to a thread and back.
        """
        unsafe = {key: entry for key in keys if (entry := self._writer.unsafe(key)) is not None}
        wanted = [key for key in keys if key not in unsafe]
        if not wanted or self._errors >= MAX_ERRORS:
            return unsafe
        return self._entries(wanted) | unsafe

    def put(self, key: str, entry: Entry, model: str) -> None:
        """Take over an entry, to be stored soon."""
        self._writer.put(StoredEntry(key, entry, model))

    def when_safe(self, then: Callable[[], None]) -> None:
        """Call back when all that was put until now is on disk, or was dropped."""
        self._writer.when_safe(then)

    async def aclose(self) -> None:
        """Store what is not yet on disk, and close the file."""
        await self._writer.close()
        self._store.close()

    def summary(self) -> dict[str, int]:
        """Return what the store has gone through in this run, as JSON."""
        return {
            "stored": self._writer.stored,
            "dropped": self._writer.dropped,
            "evicted": self._writer.evicted,
            "refused": self._store.refused,
            "errors": self._errors,
        }

    def _entries(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the entries that there are. On an error, those that can be had one by one."""
        try:
            entries = self._store.get_many(keys)
        except Exception as error:  # whatever a damaged file brings
            self._note(error)
            entries = {}
            if len(keys) > 1:
                for key in keys:
                    if self._errors < MAX_ERRORS:
                        entries |= self._entries([key])
        for key, entry in entries.items():
            self._writer.note_used(key, entry)
        return entries

    def _note(self, error: Exception) -> None:
        self._errors += 1
        if self._errors in (1, MAX_ERRORS):
            log.warning("the cache can't be read (%s); the run goes on", reason_of(error))
