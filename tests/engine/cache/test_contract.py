"""The contracts of `CacheBackend` and `CacheAdmin`, held against every place for replies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from llmscale.core.protocols import CacheAdmin, CacheBackend
from llmscale.engine.cache.disk_admin import DiskAdmin
from llmscale.engine.cache.disk_backend import DiskBackend
from llmscale.engine.cache.store import Store
from tests.engine.cache import ROOMY_BYTES, sql
from tests.engine.cache.contract import Backend, CacheAdminContract, CacheBackendContract


class DiskCases:
    """A folder on this disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def opened(
        self, *, replaces: bool = True, ttl_s: float | None = None
    ) -> AsyncIterator[CacheBackend]:
        store = Store(self._folder, ROOMY_BYTES, ttl_s)
        replies = DiskBackend(store, replace=replaces)
        try:
            yield replies
        finally:
            await replies.aclose()

    @asynccontextmanager
    async def administered(
        self, *, ttl_s: float | None = None, max_bytes: int = ROOMY_BYTES
    ) -> AsyncIterator[CacheAdmin]:
        admin = DiskAdmin(Store(self._folder, max_bytes, ttl_s))
        try:
            yield admin
        finally:
            await admin.aclose()

    def read(self, key: str) -> bytes:
        ((value,),) = sql(self._folder, "SELECT value FROM Cache WHERE key = ?", key)
        assert isinstance(value, bytes)
        return value

    def write(self, key: str, value: bytes) -> None:
        sql(self._folder, "UPDATE Cache SET value = ? WHERE key = ?", value, key)
        assert self.read(key) == value

    def ruin(self) -> None:
        """Write noise into the files, in place: who has them open has the noise."""
        for path in self._folder.iterdir():
            with path.open("r+b") as file:
                file.write(Random(0).randbytes(path.stat().st_size))


class TestOnDisk(CacheBackendContract, CacheAdminContract):
    """Held by `DiskBackend` and `DiskAdmin`."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return DiskCases(tmp_path / "cache")
