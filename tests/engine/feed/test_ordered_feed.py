"""Rows in the order of the input: what is waited for, and when the end is known to have come."""

import asyncio
from collections.abc import Iterator

import pytest

from llmscale.core.errors import StorageError
from llmscale.core.records import Row
from llmscale.engine.feed.ordered_feed import OrderedFeed
from tests.engine.feed import rows_of_users, take_one
from tests.virtual_time import Inline


@pytest.fixture(autouse=True)
async def inline() -> None:
    asyncio.get_running_loop().set_default_executor(Inline())


async def taken(feed: OrderedFeed, rows: int) -> None:
    """Take so many rows, and let the next block be read."""
    for _ in range(rows):
        assert await take_one(feed) is not None
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_next_row_is_waited_for_because_it_is_being_read() -> None:
    assert OrderedFeed(iter([])).waits_for == "reading"


@pytest.mark.parametrize("blocks", [[3], [1, 2], [2, 1]])
async def test_the_end_is_known_when_the_last_row_is_taken_and_not_before(
    blocks: list[int],
) -> None:
    feed = OrderedFeed(rows_of_users([None] * size) for size in blocks)
    assert not feed.has_ended
    for _ in range(2):
        await taken(feed, 1)
        assert not feed.has_ended
    await taken(feed, 1)
    assert feed.has_ended
    assert await take_one(feed) is None
    assert feed.has_ended


async def test_an_input_that_can_not_be_read_has_not_ended() -> None:
    def blocks() -> Iterator[list[Row]]:
        yield rows_of_users([None])
        raise StorageError("can't read")

    feed = OrderedFeed(blocks())
    await taken(feed, 1)
    assert not feed.has_ended
    with pytest.raises(StorageError):
        await take_one(feed)


async def all_taken(feed: OrderedFeed, most: int) -> list[list[int]]:
    """Take rows until there are none; return the indexes of each time."""
    taken = []
    while rows := await feed.take(most):
        taken.append([row.index for row in rows])
        for _ in range(5):
            await asyncio.sleep(0)
    return taken


def blocks_of(*sizes: int) -> Iterator[list[Row]]:
    rows = iter(rows_of_users([None] * sum(sizes)))
    return ([next(rows) for _ in range(size)] for size in sizes)


@pytest.mark.parametrize(
    ("most", "taken"),
    [
        (1, [[0], [1], [2], [3], [4], [5]]),
        (2, [[0, 1], [2], [3], [4, 5]]),
        (3, [[0, 1, 2], [3], [4, 5]]),
        (100, [[0, 1, 2], [3], [4, 5]]),
    ],
)
async def test_rows_are_taken_in_order_some_of_a_block_at_a_time(
    most: int, taken: list[list[int]]
) -> None:
    feed = OrderedFeed(blocks_of(3, 1, 2))
    assert await all_taken(feed, most) == taken
    assert (await feed.take(most), feed.has_ended) == ([], True)


async def test_how_many_are_wanted_may_change_from_time_to_time() -> None:
    feed = OrderedFeed(blocks_of(10))
    taken = [[row.index for row in await feed.take(most)] for most in (4, 1, 3, 100, 100)]
    assert taken == [[0, 1, 2, 3], [4], [5, 6, 7], [8, 9], []]


@pytest.mark.parametrize("most", [1, 7])
async def test_empty_blocks_are_no_end(most: int) -> None:
    assert await all_taken(OrderedFeed(blocks_of(0, 0, 1, 0, 2, 0)), most) == (
        [[0], [1], [2]] if most == 1 else [[0], [1, 2]]
    )


async def test_what_was_read_is_handed_out_before_the_error_and_then_it_is_raised_each_time() -> (
    None
):
    def blocks() -> Iterator[list[Row]]:
        yield rows_of_users([None] * 2)
        raise StorageError("can't read")

    feed = OrderedFeed(blocks())
    assert len(await feed.take(10)) == 2
    for _ in range(2):
        with pytest.raises(StorageError):
            await feed.take(10)
