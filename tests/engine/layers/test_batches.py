"""Which batch a row joins, which batch goes out for it, and who gets the results."""

import asyncio

import pytest

from llmscale.core.errors import CallStopped
from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.layers.batches import Batch, BatchCaps, Item, OpenBatches, OpenRows
from tests.engine.answering import Delivered
from tests.virtual_time import now_s

CAPS = BatchCaps(items=6, tokens=10, size_bytes=100)


@pytest.fixture(autouse=True)
async def loop() -> None:
    """Events want one."""


def item(tokens: int, size_bytes: int = 1) -> Item:
    request = Request(model="sim/v", text="x")
    (row,) = Delivered().rows([request])
    return Item(row, tokens, size_bytes)


def put(batches: OpenBatches, *tokens: int) -> list[Batch]:
    return [batches.put(item(count)) for count in tokens]


async def test_a_row_joins_the_fullest_batch_that_takes_it() -> None:
    five, seven, first, second = put(OpenBatches(CAPS), 5, 7, 3, 4)
    assert first is seven
    assert second is five


async def test_of_batches_that_are_equally_full_the_oldest_is_joined() -> None:
    oldest, _, joined = put(OpenBatches(CAPS), 6, 6, 4)
    assert joined is oldest


@pytest.mark.parametrize(
    ("tokens", "size_bytes"), [([1] * 6, 1), ([5, 5], 1), ([1, 1], 50), ([11], 1), ([1], 101)]
)
async def test_a_batch_is_closed_when_no_row_could_be_added(
    tokens: list[int], size_bytes: int
) -> None:
    batches = OpenBatches(CAPS)
    *_, batch = [batches.put(item(count, size_bytes)) for count in tokens]
    assert batch.closed.is_set()
    assert batch.fill == 1.0
    assert batches.put(item(1)) is not batch


async def test_when_as_many_rows_gather_as_one_batch_may_have_the_fullest_goes_out() -> None:
    batches = OpenBatches(CAPS)
    gathering = put(batches, 6, 8, 6, 6, 6)
    assert not any(batch.closed.is_set() for batch in gathering)
    last = batches.put(item(7))
    assert [batch.closed.is_set() for batch in (*gathering, last)] == [False, True, *[False] * 4]
    assert put(batches, 6) != [gathering[1]]


async def test_closing_twice_is_closing_once() -> None:
    batches = OpenBatches(CAPS)
    (batch,) = put(batches, 6)
    for _ in range(2):
        batches.close(batch)
    gathering = put(batches, 6, 6, 6, 6, 6)
    assert not any(other.closed.is_set() for other in gathering), "its row counts no more"
    batches.close_all()
    assert all(other.closed.is_set() for other in gathering)


async def test_the_fill_is_the_share_of_the_cap_that_is_nearest() -> None:
    (batch,) = put(OpenBatches(CAPS), 4)
    assert batch.fill == 0.4
    assert OpenBatches(CAPS).put(item(4, 70)).fill == 0.7


# --- rows without a result

REPLY = Reply(text=None, finish_reason="stop", model="v", usage=Usage(1), vector=b"x")


def items_of(open_rows: OpenRows, delivered: Delivered, rows: int) -> list[Item]:
    asked = delivered.rows([Request(model="sim/v", text="x")] * rows)
    for row in asked:
        row.through(open_rows)
    return [Item(row, 1, 1) for row in asked]


@pytest.mark.looptime
async def test_each_result_is_delivered_at_once_and_the_caller_waits_for_the_last() -> None:
    delivered = Delivered()
    open_rows = OpenRows(3)
    loop = asyncio.get_running_loop()
    for at_s, one in zip((3, 1, 2), items_of(open_rows, delivered, 3), strict=True):
        loop.call_later(at_s, one.deliver, REPLY)
    waiting = asyncio.create_task(open_rows.end())
    await asyncio.sleep(2.5)
    assert (delivered.order, waiting.done()) == ([1, 2], False)
    await waiting
    assert (delivered.order, now_s()) == ([1, 2, 0], 3)


async def test_the_end_is_at_once_where_all_results_are_delivered() -> None:
    open_rows = OpenRows(2)
    for one in items_of(open_rows, Delivered(), 2):
        one.deliver(REPLY)
    async with asyncio.timeout(1):
        await open_rows.end()
        await OpenRows(0).end()


async def test_only_the_first_result_of_a_row_is_delivered() -> None:
    delivered = Delivered()
    (one,) = items_of(OpenRows(1), delivered, 1)
    one.deliver(REPLY)
    one.deliver(CallStopped())
    assert delivered.by_position == {0: REPLY}


async def test_a_second_result_of_a_row_does_not_count_for_another_row() -> None:
    delivered = Delivered()
    open_rows = OpenRows(2)
    first, second = items_of(open_rows, delivered, 2)
    for one in (first, first, second):
        one.deliver(REPLY)
    assert delivered.order == [0, 1]


async def test_a_caller_that_is_cancelled_gives_up_at_once() -> None:
    delivered = Delivered()
    open_rows = OpenRows(1)
    (one,) = items_of(open_rows, delivered, 1)
    waiting = asyncio.create_task(open_rows.end())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    one.deliver(REPLY)
    assert delivered.order == []


async def test_a_caller_that_gave_up_gets_no_further_result() -> None:
    delivered = Delivered()
    open_rows = OpenRows(2)
    first, second = items_of(open_rows, delivered, 2)
    first.deliver(REPLY)
    open_rows.give_up()
    second.deliver(REPLY)
    assert delivered.order == [0]
