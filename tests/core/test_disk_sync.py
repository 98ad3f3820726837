"""Flushes to the disk: `fsync`, and on macOS what goes further."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from llmscale.core import disk_sync
from llmscale.core.disk_sync import sync_descriptor

FULL_SYNC = 51


class Flushes:
    """Notes how a descriptor was flushed. `refused`: the error of a full flush."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refused: int | None) -> None:
        self.seen: list[str] = []
        self._refused = refused
        monkeypatch.setattr(os, "fsync", lambda _: self.seen.append("fsync"))
        monkeypatch.setattr(fcntl, "fcntl", self._fcntl)

    def _fcntl(self, _: int, command: int) -> None:
        assert command == FULL_SYNC
        if self._refused is not None:
            raise OSError(self._refused, "refused")
        self.seen.append("full")


@pytest.mark.parametrize(
    ("command", "refused", "seen"),
    [
        (None, None, ["fsync"]),
        (FULL_SYNC, None, ["full"]),
        (FULL_SYNC, errno.ENOTSUP, ["fsync"]),
    ],
    ids=["Linux", "macOS", "macOS on a network disk"],
)
def test_a_flush_goes_as_far_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, command: int | None, refused: int | None, seen: list[str]
) -> None:
    flushes = Flushes(monkeypatch, refused)
    monkeypatch.setattr(disk_sync, "_FULL_SYNC", command)
    sync_descriptor(3)
    assert flushes.seen == seen


def test_a_disk_that_fails_a_full_flush_is_not_asked_for_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushes = Flushes(monkeypatch, errno.EIO)
    monkeypatch.setattr(disk_sync, "_FULL_SYNC", FULL_SYNC)
    with pytest.raises(OSError, match="refused"):
        sync_descriptor(3)
    assert flushes.seen == []


def test_only_one_module_flushes_to_the_disk() -> None:
    sources = Path(disk_sync.__file__).parents[1].rglob("*.py")
    assert [path.name for path in sources if "os.fsync(" in path.read_text()] == ["disk_sync.py"]
