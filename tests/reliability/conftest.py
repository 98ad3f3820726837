"""Reliability is measured on Linux: processes that are left, and peaks of memory, are in /proc."""

from pathlib import Path

import pytest

from tests.platforms import needs_proc


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what would be shown without having been measured."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(needs_proc)
