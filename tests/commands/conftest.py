"""What the tests of commands share."""

import pytest
from diskcache.core import DEFAULT_SETTINGS


@pytest.fixture(autouse=True)
def _without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here cuts the power."""
    monkeypatch.setitem(DEFAULT_SETTINGS, "sqlite_synchronous", 0)
