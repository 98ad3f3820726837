"""`llmscale cache clear` and `prune`: entries are removed by model and age, or down to a size."""

from llmscale.commands.cache.opened_cache import with_cache
from llmscale.config import CacheConfig
from llmscale.core.cache_records import Pruned
from llmscale.core.errors import StorageError
from llmscale.core.protocols import CacheAdmin
from llmscale.engine.cache.damage import is_damaged, remove_damaged
from llmscale.runtime.cache import folder_of


def clear(
    cache: CacheConfig, model_pattern: str, older_than_s: float | None, *, really: bool
) -> int:
    """Remove entries and return their number; without `really` only count them."""

    async def work(stored: CacheAdmin) -> int:
        return await (stored.clear if really else stored.count)(model_pattern, older_than_s)

    try:
        return with_cache(cache, work)
    except StorageError:
        if model_pattern != "*" or older_than_s is not None or not is_damaged(folder_of(cache)):
            raise
    if really:
        remove_damaged(folder_of(cache))
    return 0


def prune(cache: CacheConfig) -> Pruned:
    """Remove expired entries, then evict down to the size limit; return both counts."""
    return with_cache(cache, lambda stored: stored.prune())
