"""The cache, opened for one command and closed after it."""

import logging
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from llmscale.config import CacheConfig
from llmscale.core.errors import JobError, StorageError
from llmscale.core.stdout_errors import is_of_stdout
from llmscale.engine.cache.store import Store, reason_of
from llmscale.runtime.cache import folder_of, open_store

log = logging.getLogger(__name__)

T = TypeVar("T")


def with_store(cache: CacheConfig, work: Callable[[Store], T]) -> T:
    """Open the cache, work on it, close it. Raises `StorageError` for an unusable cache."""
    try:
        with closing(open_store(cache)) as store:
            return work(store)
    except JobError:
        raise
    except Exception as error:  # a damaged file can raise anything
        if is_of_stdout(error):
            raise
        log.debug("traceback", exc_info=True)
        raise StorageError(
            f"can't use the cache in {folder_of(cache)}: {reason_of(error)}"
        ) from None
