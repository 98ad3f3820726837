"""The cache of a run: where it is, how it is opened, and the history of its use."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from llmscale.accounting.stats import Lookups, Rows, Stats
from llmscale.config import CacheConfig
from llmscale.core.errors import ConfigError
from llmscale.core.protocols import CacheAdmin, CacheBackend
from llmscale.core.units import duration_s, size_bytes
from llmscale.engine.cache import history
from llmscale.engine.cache.disk_admin import DiskAdmin
from llmscale.engine.cache.disk_backend import DiskBackend
from llmscale.engine.cache.history import RunUse, Use
from llmscale.engine.cache.store import Store, reason_of

log = logging.getLogger(__name__)

T = TypeVar("T")


def folder_of(cache: CacheConfig) -> Path:
    """Return the folder of the cache: the one that is set, or the user's (XDG base directories).

    Raises `ConfigError` where there is neither.
    """
    if cache.dir is not None:
        return _with_home(Path(cache.dir))
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "llmscale"
    return _with_home(Path("~/.cache/llmscale"))


def _with_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ConfigError("there is no home folder; set HOME, or --cache-dir") from None


def has_folder(cache: CacheConfig) -> bool:
    """Tell whether there is a folder of the cache on this disk."""
    try:
        return folder_of(cache).is_dir()
    except (ConfigError, OSError):
        return False


def open_store(cache: CacheConfig) -> Store:
    """Open the cache on this disk. Raises one of `STORE_ERRORS`, or anything for a damaged file."""
    ttl_s = None if cache.ttl is None else duration_s(cache.ttl)
    return Store(folder_of(cache), size_bytes(cache.max_size), ttl_s)


def with_admin(cache: CacheConfig, work: Callable[[CacheAdmin], Coroutine[Any, Any, T]]) -> T:
    """Open the cache, work on it, close it. Raises what `open_admin` and the work raise."""

    async def opened() -> T:
        admin = open_admin(cache)
        try:
            return await work(admin)
        finally:
            await admin.aclose()

    return asyncio.run(opened())


def open_admin(cache: CacheConfig) -> CacheAdmin:
    """Open the cache for a command. Raises as `open_store` does."""
    return DiskAdmin(open_store(cache))


def open_backend(cache: CacheConfig) -> CacheBackend | None:
    """Open the cache for a run; None where it is off or can't be opened: the run goes on."""
    if cache.mode == "off":
        return None
    try:
        return DiskBackend(open_store(cache), replace=cache.mode != "write")
    except Exception as error:  # a damaged file can raise anything
        log.warning(
            "can't open the cache%s (%s); continuing without a cache", *_where(cache, error)
        )
        return None


def _where(cache: CacheConfig, error: Exception) -> tuple[str, str]:
    """Return where the cache is, as far as that is known, and what is wrong with it."""
    try:
        return f" in {folder_of(cache)}", reason_of(error)
    except ConfigError:
        return "", reason_of(error)


def note_use(
    cache: CacheConfig, replies: CacheBackend, stats: Stats, started: datetime, output: str
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
