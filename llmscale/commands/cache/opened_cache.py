"""The cache, opened for one command and closed after it."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from llmscale.config import CacheConfig
from llmscale.core.errors import JobError, StorageError
from llmscale.core.protocols import CacheAdmin
from llmscale.core.stdout_errors import is_of_stdout
from llmscale.engine.cache.store import reason_of
from llmscale.runtime.cache import folder_of, with_admin

log = logging.getLogger(__name__)

T = TypeVar("T")


def with_cache(cache: CacheConfig, work: Callable[[CacheAdmin], Coroutine[Any, Any, T]]) -> T:
    """Open the cache, work on it, close it. Raises `StorageError` for an unusable cache."""
    try:
        return with_admin(cache, work)
    except JobError:
        raise
    except Exception as error:  # a damaged file can raise anything
        if is_of_stdout(error):
            raise
        log.debug("traceback", exc_info=True)
        raise StorageError(
            f"can't use the cache in {folder_of(cache)}: {reason_of(error)}"
        ) from None
