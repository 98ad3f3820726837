"""Looks up cached answers before a run, without counting as a use of the cache. Never writes."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from llmscale.config import CacheConfig
from llmscale.engine.cache.entry import Entry
from llmscale.engine.cache.store import Store, reason_of
from llmscale.runtime.cache import folder_of, open_store

log = logging.getLogger(__name__)

Lookup = Callable[[Sequence[str]], Mapping[str, Entry]]
"""Returns the entries of those keys that have one."""


@contextmanager
def cached_answers(cache: CacheConfig) -> Iterator[Lookup]:
    """Yield a lookup that finds what a run would find in the cache.

    It finds nothing where the run reads no cache, and where there is no cache yet. A cache that
    can't be read misses, as in a run, with one warning.
    """
    if cache.mode not in ("on", "read") or not folder_of(cache).is_dir():
        yield lambda _: {}
        return
    reader = _Reader(cache)
    try:
        yield reader.get_many
    finally:
        reader.close()


class _Reader:
    def __init__(self, cache: CacheConfig) -> None:
        self._folder = folder_of(cache)
        self._store: Store | None = None
        try:
            self._store = open_store(cache)
        except Exception as error:  # a damaged file can raise anything
            self._warn(error)

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        if self._store is None:
            return {}
        try:
            return self._store.get_many(keys)
        except Exception as error:  # as above
            self._warn(error)
            self.close()
            return {}

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _warn(self, error: Exception) -> None:
        log.warning(
            "can't read the cache in %s (%s); further rows count as not cached",
            self._folder,
            reason_of(error),
        )
