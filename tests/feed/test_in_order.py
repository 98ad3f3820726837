"""Rows in the order of the input: what is waited for, and when the end is known to have come."""

import asyncio
from collections.abc import Iterator

import pytest

from llmscale.errors import StorageError
from llmscale.feed.in_order import InOrder
from llmscale.records import Row
from tests.feed import rows_of_users
from tests.virtual_time import Inline


@pytest.fixture(autouse=True)
async def inline() -> None:
    asyncio.get_running_loop().set_default_executor(Inline())


async def taken(feed: InOrder, rows: int) -> None:
    """Take so many rows, and let the next block be read."""
    for _ in range(rows):
        assert await feed.next() is not None
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_next_row_is_waited_for_because_it_is_being_read() -> None:
    assert InOrder(iter([])).waits_for == "reading"


@pytest.mark.parametrize("blocks", [[3], [1, 2], [2, 1]])
async def test_the_end_is_known_when_the_last_row_is_taken_and_not_before(
    blocks: list[int],
) -> None:
    feed = InOrder(rows_of_users([None] * size) for size in blocks)
    assert not feed.has_ended
    for _ in range(2):
        await taken(feed, 1)
        assert not feed.has_ended
    await taken(feed, 1)
    assert feed.has_ended
    assert await feed.next() is None
    assert feed.has_ended


async def test_an_input_that_can_not_be_read_has_not_ended() -> None:
    def blocks() -> Iterator[list[Row]]:
        yield rows_of_users([None])
        raise StorageError("can't read")

    feed = InOrder(blocks())
    await taken(feed, 1)
    assert not feed.has_ended
    with pytest.raises(StorageError):
        await feed.next()
