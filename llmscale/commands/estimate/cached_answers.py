"""Looks stored answers up without using them, for what is told of a job before it runs."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from llmscale.config import CacheConfig
from llmscale.engine.cache.entry import Entry
from llmscale.engine.cache.store import Store, reason_of
from llmscale.runtime.cache import folder_of, open_store

log = logging.getLogger(__name__)

Lookup = Callable[[Sequence[str]], Mapping[str, Entry]]
"""Returns the entries that there are of keys."""


@contextmanager
def stored_answers(cache: CacheConfig) -> Iterator[Lookup]:
    """Yield what looks answers up: there are none where a run would not look, or has no cache yet.

    A cache that can't be read misses, as it does in a run.
    """
    if cache.mode not in ("on", "read") or not folder_of(cache).is_dir():
        yield lambda _: {}
        return
    stored = _Stored(cache)
    try:
        yield stored.get_many
    finally:
        stored.close()


class _Stored:
    def __init__(self, cache: CacheConfig) -> None:
        self._folder = folder_of(cache)
        self._store: Store | None = None
        try:
            self._store = open_store(cache)
        except Exception as error:  # whatever a damaged file brings
            self._warn(error)

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        if self._store is None:
            return {}
        try:
            return self._store.get_many(keys)
        except Exception as error:  # here too
            self._warn(error)
            self.close()
            return {}

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _warn(self, error: Exception) -> None:
        log.warning(
            "the cache in %s can't be read (%s); no further row counts as stored",
            self._folder,
            reason_of(error),
        )
