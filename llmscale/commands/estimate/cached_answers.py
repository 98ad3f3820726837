"""Looks up cached answers before a run, without counting as a use of the cache. Never writes."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from llmscale.config import CacheConfig
from llmscale.core.cache_records import Entry
from llmscale.core.protocols import CacheAdmin
from llmscale.engine.cache.store import reason_of
from llmscale.runtime.cache import folder_of, has_folder, open_admin

log = logging.getLogger(__name__)

Lookup = Callable[[Sequence[str]], Mapping[str, Entry]]
"""Returns the entries of those keys that have one."""


@contextmanager
def cached_answers(cache: CacheConfig) -> Iterator[Lookup]:
    """Yield a lookup that finds what a run would find in the cache.

    It finds nothing where the run reads no cache, and where there is no cache yet. A cache that
    can't be read misses, as in a run, with one warning.
    """
    if cache.mode not in ("on", "read") or not has_folder(cache):
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
        self._runner = asyncio.Runner()
        self._cache: CacheAdmin | None = None
        try:
            self._cache = open_admin(cache)
        except Exception as error:  # a damaged file can raise anything
            self._warn(error)

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        if self._cache is None:
            return {}
        try:
            return self._runner.run(_found(self._cache, keys))
        except Exception as error:  # as above
            self._warn(error)
            self.close()
            return {}

    def close(self) -> None:
        if self._cache is not None:
            self._runner.run(_closed(self._cache))
            self._cache = None
        self._runner.close()

    def _warn(self, error: Exception) -> None:
        log.warning(
            "can't read the cache in %s (%s); further rows count as not cached",
            self._folder,
            reason_of(error),
        )


async def _found(cache: CacheAdmin, keys: Sequence[str]) -> Mapping[str, Entry]:
    return await cache.get_many(keys)


async def _closed(cache: CacheAdmin) -> None:
    await cache.aclose()
