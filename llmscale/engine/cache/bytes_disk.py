"""What diskcache may do with its file: text keys, bytes in the row, and nothing else.

diskcache's own Disk unpickles what it finds in the file and opens the file names that it finds
there (CVE-2025-69872). This one refuses every value that is not plain bytes in its row: a planted
pickle or file name is a miss, and is counted. diskcache's own Cache takes settings out of the file
too, and sets any attribute that they name: this one believes none of them.
"""

import contextlib
import sqlite3
from typing import Any

import diskcache
from diskcache.core import DEFAULT_SETTINGS, ENOVAL, METADATA, MODE_BINARY

from llmscale.engine.cache.entry import RefusedValue


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """A Disk without pickles and without files."""

    def __init__(self, directory: str, **_settings: Any) -> None:
        """`_settings` come out of the cache's own file, and are not believed."""
        super().__init__(directory)
        self.refused = 0  # values that were not ours

    def put(self, key: str) -> tuple[str, bool]:
        """Return the key as it is stored. Raises `TypeError` for what is no text."""
        if not isinstance(key, str):
            raise TypeError("keys are text")
        return key, True

    def get(self, key: object, raw: bool) -> str:
        """Return a stored key. Raises `RefusedValue`."""
        if not raw or not isinstance(key, str):
            raise RefusedValue("a key that is no text")
        return key

    def store(
        self, value: bytes, read: bool, key: object = None
    ) -> tuple[int, int, None, sqlite3.Binary]:
        """Return how a value is stored: in its row, as it is."""
        del key
        if read or not isinstance(value, bytes):
            raise TypeError("values are bytes")
        return len(value), MODE_BINARY, None, sqlite3.Binary(value)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        """Return a stored value. Raises `RefusedValue`, which diskcache takes as a miss."""
        if mode != MODE_BINARY or filename is not None or read or not isinstance(value, bytes):
            self.refused += 1
            raise RefusedValue("a value that is not plain bytes")
        return value

    def remove(self, file_path: str) -> None:
        """Remove no file, whatever the row says: we never store one."""


class ClosedCache(diskcache.Cache):  # type: ignore[misc]
    """A Cache with a `BytesDisk`, whose settings are those that it was opened with."""

    def __init__(self, directory: str, timeout: float, **settings: Any) -> None:
        self._own_settings = DEFAULT_SETTINGS | settings
        try:
            super().__init__(directory, timeout, disk=BytesDisk, **self._own_settings)
        except BaseException:
            with contextlib.suppress(AttributeError):  # of what was not there yet
                self.close()
            raise

    def reset(self, key: str, value: Any = ENOVAL, update: bool = True) -> Any:
        """Set one of our settings to our value; what else the file names is passed over."""
        if key not in self._own_settings and key not in METADATA:
            return None
        return super().reset(key, self._own_settings.get(key, value), update)

    def volume(self) -> int:
        """Return the bytes of the file; the sum that it keeps is of values outside of it."""
        return int(self._page_size * self._sql("PRAGMA page_count").fetchone()[0])
