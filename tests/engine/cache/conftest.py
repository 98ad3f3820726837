"""Stores that do not wait for the disk: no test here cuts the power."""

import pytest
from diskcache.core import DEFAULT_SETTINGS


@pytest.fixture(autouse=True)
def _without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEFAULT_SETTINGS, "sqlite_synchronous", 0)
