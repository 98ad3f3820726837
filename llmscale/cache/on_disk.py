"""The `ReplyStore` on this disk: look-ups at once, entries in groups, failures as misses."""

import logging

from llmscale.cache.entry import Entry
from llmscale.cache.store import Store, ToStore, reason_of
from llmscale.cache.writing import GroupWriter

log = logging.getLogger(__name__)

MAX_ERRORS = 20  # look-ups that fail before no more are made


class DiskReplies:
    """A `Store` as the cache layer wants it. `replace` False: entries that are there stay."""

    def __init__(self, store: Store, *, replace: bool = True) -> None:
        self._store = store
        self._writer = GroupWriter(store, replace=replace)
        self._errors = 0

    async def get(self, key: str) -> Entry | None:
        """Return an entry. It takes ten microseconds, less than a way into a thread and back."""
        if self._errors >= MAX_ERRORS:
            return None
        try:
            entry = self._store.get(key)
        except Exception as error:  # whatever a damaged file brings
            self._errors += 1
            if self._errors in (1, MAX_ERRORS):
                log.warning("the cache can't be read (%s); the run goes on", reason_of(error))
            return None
        if entry is not None:
            self._writer.note_used(key, entry)
        return entry

    async def put(self, key: str, entry: Entry, model: str) -> None:
        """Return when the entry is safe on disk, or was dropped."""
        await self._writer.put(ToStore(key, entry, model))

    async def aclose(self) -> None:
        """Store what is on its way, and close the file."""
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
