"""Entries to the store in groups, in a thread of their own: the event loop never waits for a disk.

While one group is being committed the next one gathers, so that groups grow with the load and a
lone answer is stored at once.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence

from llmscale.core.cache_records import Entry, StoredEntry
from llmscale.engine.cache.store import Store, reason_of

log = logging.getLogger(__name__)

USED_AFTER_S = 86_400.0
USED_GROUP = 500  # hits noted before they are written on their own
EVICT_EVERY = 2_000  # entries stored between two looks at the size limit
MANY = 8  # entries in a group; then answers come fast, and the next group may gather for a while,
GATHER_S = 0.02  # because each group takes the interpreter from the event loop a few times
MAX_FAILURES = 3  # in a row, before nothing more is tried: each may have waited for a lock


class _Group:
    """Entries of one transaction, and what to call when it is over."""

    def __init__(self) -> None:
        self.items: list[StoredEntry] = []
        self.then: list[Callable[[], None]] = []


class GroupWriter:
    """Stores entries until `close`. Never raises: what can't be stored is dropped and counted."""

    def __init__(self, store: Store, *, replace: bool = True) -> None:
        self._store = store
        self._replace = replace
        self._gathering = _Group()
        self._last: _Group | None = None  # that is not over yet; for the thread of the loop only
        self._unsafe: dict[str, Entry] = {}
        self._used: list[str] = []
        self._work = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._since_evicted = 0
        self._failures = 0  # in a row
        self._has_warned = False
        self.stored = 0
        self.dropped = 0  # entries that the store did not take
        self.evicted = 0
        self._thread = threading.Thread(target=self._run, name="cache-writer", daemon=True)
        self._thread.start()

    def put(self, item: StoredEntry) -> None:
        """Take over an entry."""
        self._loop = self._loop or asyncio.get_running_loop()
        self._unsafe[item.key] = item.entry
        with self._work:
            self._last = self._gathering
            self._gathering.items.append(item)
            if len(self._gathering.items) == 1:
                self._work.notify()

    def unsafe(self, key: str) -> Entry | None:
        """Return an entry that is not yet on disk, None where there is none."""
        return self._unsafe.get(key)

    def when_safe(self, then: Callable[[], None]) -> None:
        """Call back when all that was put until now is on disk, or is known not to get there."""
        if self._last is None:
            then()
        else:
            self._last.then.append(then)

    def note_used(self, key: str, entry: Entry) -> None:
        """Note a hit, for the order of eviction. Of no use within a day of storing."""
        if time.time() - entry.created > USED_AFTER_S:
            with self._work:
                self._used.append(key)
                if len(self._used) >= USED_GROUP:
                    self._work.notify()

    async def close(self) -> None:
        """Store what is left, evict, end the thread."""
        with self._work:
            self._closing = True
            self._work.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            with self._work:
                while not (self._gathering.items or self._closing or len(self._used) >= USED_GROUP):
                    self._work.wait()
                group, self._gathering = self._gathering, _Group()
                used, self._used = self._used, []
                closing = self._closing
            self._commit(group.items, used, closing=closing)
            if len(group.items) >= MANY and not closing:
                time.sleep(GATHER_S)
            if group.items and self._loop is not None:
                self._loop.call_soon_threadsafe(self._end, group)
            elif closing:
                self._store.close()  # the connection of this thread
                return

    def _end(self, group: _Group) -> None:
        """Forget a group that is over and call back, in the thread of the event loop."""
        if self._last is group:
            self._last = None
        for item in group.items:
            if self._unsafe.get(item.key) is item.entry:
                del self._unsafe[item.key]
        for then in group.then:
            then()

    def _commit(self, items: Sequence[StoredEntry], used: Sequence[str], *, closing: bool) -> None:
        if items and not self._did(lambda: self._add(items)):
            self.dropped += len(items)
        if used:
            self._did(lambda: self._store.note_used(used))
        if self._since_evicted >= EVICT_EVERY or (closing and self._since_evicted):
            self._since_evicted = 0
            self._did(self._evict)

    def _add(self, items: Sequence[StoredEntry]) -> None:
        self.stored += self._store.add(items, replace=self._replace)
        self._since_evicted += len(items)

    def _evict(self) -> None:
        self.evicted += self._store.evict()

    def _did(self, work: Callable[[], None]) -> bool:
        """Work on the store and tell whether that went well. Rows wait for this thread."""
        if self._failures >= MAX_FAILURES:
            return False
        try:
            work()
        except Exception as error:  # whatever a damaged file brings
            self._failures += 1
            if not self._has_warned or self._failures == MAX_FAILURES:
                self._has_warned = True
                log.warning(
                    "the cache does not take answers (%s); the run goes on", reason_of(error)
                )
            return False
        self._failures = 0
        return True
