"""What tests of the cache share."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a cache that is not there yet."""
    return tmp_path / "cache"
