"""The cache of a run: where it is, how it is opened, and the history of its use."""

import logging
import os
from datetime import datetime
from pathlib import Path

from llmscale.accounting.stats import Lookups, Rows, Stats
from llmscale.config import CacheConfig
from llmscale.core.units import duration_s, size_bytes
from llmscale.engine.cache import history
from llmscale.engine.cache.disk_backend import DiskBackend
from llmscale.engine.cache.history import RunUse, Use
from llmscale.engine.cache.store import Store, reason_of

log = logging.getLogger(__name__)


def folder_of(cache: CacheConfig) -> Path:
    """Return the folder of the cache: the one that is set, or the user's (XDG base directories)."""
    if cache.dir is not None:
        return Path(cache.dir).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "llmscale"


def open_store(cache: CacheConfig) -> Store:
    """Open the cache. Raises one of `STORE_ERRORS`, or anything for a damaged file."""
    ttl_s = None if cache.ttl is None else duration_s(cache.ttl)
    return Store(folder_of(cache), size_bytes(cache.max_size), ttl_s)


def open_replies(cache: CacheConfig) -> DiskBackend | None:
    """Open the cache for a run; None where it is off or can't be opened: the run goes on."""
    if cache.mode == "off":
        return None
    try:
        return DiskBackend(open_store(cache), replace=cache.mode != "write")
    except Exception as error:  # a damaged file can raise anything
        log.warning(
            "can't open the cache in %s (%s); continuing without a cache",
            folder_of(cache),
            reason_of(error),
        )
        return None


def note_use(
    cache: CacheConfig, replies: DiskBackend, stats: Stats, started: datetime, output: str
) -> None:
    """Add this run to the history of the cache."""
    rows, lookups = stats.rows_by_model(), stats.lookups_by_model()
    models = {}
    for model in sorted({*rows, *lookups}):  # without look-ups there may be shared calls
        counted, asked = rows.get(model, Rows()), lookups.get(model, Lookups())
        models[model] = Use(
            asked.hits, asked.misses, counted.deduped, counted.saved_tokens, counted.saved_usd
        )
    run = RunUse(started.isoformat(timespec="seconds"), output, models, **replies.summary())
    try:
        history.append(folder_of(cache), run)
    except OSError as error:
        log.warning("can't write the history of the cache (%s)", error.strerror)
