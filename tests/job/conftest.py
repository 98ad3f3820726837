"""What tests of jobs share."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder for a job."""
    folder = tmp_path / "job"
    folder.mkdir()
    return folder
