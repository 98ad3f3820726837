"""`llmscale cache clear` and `prune`: entries are removed by model and age, or down to a size."""

from llmscale.commands.cache.opened_store import with_store
from llmscale.config import CacheConfig
from llmscale.engine.cache.store import Store


def clear(
    cache: CacheConfig, model_pattern: str, older_than_s: float | None, *, really: bool
) -> int:
    """Remove entries and return their number; without `really` only count them."""

    def work(store: Store) -> int:
        return (store.clear if really else store.count)(model_pattern, older_than_s)

    return with_store(cache, work)


def prune(cache: CacheConfig) -> tuple[int, int]:
    """Remove expired entries, then evict down to the size limit; return both counts."""
    return with_store(cache, lambda store: (store.expire(), store.make_room()))
