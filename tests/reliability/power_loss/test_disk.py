"""What may be on a disk: what was synced always, what was not in any part."""

import pytest

from tests.reliability.power_loss import disk
from tests.reliability.power_loss.disk import state_after
from tests.reliability.power_loss.operations import (
    Link,
    Operation,
    Rename,
    Sync,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)

CREATED: list[Operation] = [Link("/d", "/d/a", 0), Write(0, 0, b"one"), Write(0, 3, b"two")]
SYNCED: list[Operation] = [*CREATED, Sync(0), SyncFolder("/d")]


def test_what_was_synced_is_there_whatever_is_lost() -> None:
    assert state_after(SYNCED, disk.nothing) == {"/d/a": b"onetwo"}


def test_what_was_not_synced_may_be_lost_kept_or_split() -> None:
    assert state_after(CREATED, disk.nothing) == {}
    assert state_after(CREATED, disk.everything) == {"/d/a": b"onetwo"}
    assert state_after(CREATED, disk.names) == {"/d/a": b""}
    assert state_after(CREATED, disk.data) == {}


def test_a_file_is_lost_with_its_name_though_its_content_was_synced() -> None:
    assert state_after([*CREATED, Sync(0)], disk.nothing) == {}


def test_a_sync_covers_what_came_before_it_and_no_more() -> None:
    later: list[Operation] = [*SYNCED, Write(0, 6, b"three"), Rename("/d", "/d/a", "/d/b")]
    assert state_after(later, disk.nothing) == {"/d/a": b"onetwo"}
    assert state_after([*later, SyncFolder("/d")], disk.nothing) == {"/d/b": b"onetwo"}


def test_a_later_write_without_an_earlier_one_leaves_zeros() -> None:
    def second(operation: object) -> object:
        return None if operation == CREATED[1] else operation

    found = state_after(CREATED, second)  # type: ignore[arg-type]
    assert found == {"/d/a": b"\0\0\0two"}


def test_names_that_are_removed_and_sizes_that_are_cut_come_back_until_they_are_synced() -> None:
    cut: list[Operation] = [*SYNCED, Truncate(0, 1), Unlink("/d", "/d/a")]
    assert state_after(cut, disk.nothing) == {"/d/a": b"onetwo"}
    assert state_after(cut, disk.data) == {"/d/a": b"o"}
    assert state_after(cut, disk.names) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_loss_is_the_same_for_the_same_seed(seed: int) -> None:
    first, second = (state_after(CREATED, disk.some(seed)) for _ in range(2))
    assert first == second
