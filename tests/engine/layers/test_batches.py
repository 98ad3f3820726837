"""Which batch a row joins, which batch goes out for it, and who is told what it has come to."""

import asyncio

import pytest

from llmscale.core.errors import CallStopped
from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.layers.batches import Asking, Batch, BatchCaps, Item, OpenBatches
from tests.engine.answering import Settled
from tests.virtual_time import now_s

CAPS = BatchCaps(items=6, tokens=10, size_bytes=100)


@pytest.fixture(autouse=True)
async def loop() -> None:
    """Events want one."""


def item(tokens: int, size_bytes: int = 1) -> Item:
    request = Request(model="sim/v", text="x")
    return Item(request, tokens, size_bytes, Asking(1, Settled()), 0)


def put(batches: OpenBatches, *tokens: int) -> list[Batch]:
    return [batches.put(item(count)) for count in tokens]


async def test_a_row_joins_the_fullest_lot_that_takes_it() -> None:
    five, seven, first, second = put(OpenBatches(CAPS), 5, 7, 3, 4)
    assert first is seven
    assert second is five


async def test_of_lots_that_are_equally_full_the_oldest_is_joined() -> None:
    oldest, _, joined = put(OpenBatches(CAPS), 6, 6, 4)
    assert joined is oldest


@pytest.mark.parametrize(
    ("tokens", "size_bytes"), [([1] * 6, 1), ([5, 5], 1), ([1, 1], 50), ([11], 1), ([1], 101)]
)
async def test_a_lot_is_closed_when_no_row_could_be_added(
    tokens: list[int], size_bytes: int
) -> None:
    batches = OpenBatches(CAPS)
    *_, batch = [batches.put(item(count, size_bytes)) for count in tokens]
    assert batch.closed.is_set()
    assert batch.fill == 1.0
    assert batches.put(item(1)) is not batch


async def test_when_as_many_rows_gather_as_one_lot_may_have_the_fullest_goes_out() -> None:
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


# --- who asks

REPLY = Reply(text=None, finish_reason="stop", model="v", usage=Usage(1), vector=b"x")


def items_of(asking: Asking, rows: int) -> list[Item]:
    return [Item(Request(model="sim/v", text="x"), 1, 1, asking, row) for row in range(rows)]


@pytest.mark.looptime
async def test_who_asks_is_told_of_each_row_at_once_and_waits_for_the_last() -> None:
    settled = Settled()
    asking = Asking(3, settled)
    loop = asyncio.get_running_loop()
    for at_s, one in zip((3, 1, 2), items_of(asking, 3), strict=True):
        loop.call_later(at_s, one.settle, REPLY)
    waiting = asyncio.create_task(asking.end())
    await asyncio.sleep(2.5)
    assert (settled.order, waiting.done()) == ([1, 2], False)
    await waiting
    assert (settled.order, now_s()) == ([1, 2, 0], 3)


async def test_where_all_is_settled_nobody_waits() -> None:
    asking = Asking(2, Settled())
    for one in items_of(asking, 2):
        one.settle(REPLY)
    async with asyncio.timeout(1):
        await asking.end()
        await Asking(0, Settled()).end()


async def test_what_a_row_has_come_to_first_stands() -> None:
    settled = Settled()
    (one,) = items_of(Asking(1, settled), 1)
    one.settle(REPLY)
    one.settle(CallStopped())
    assert settled.by_position == {0: REPLY}


async def test_a_row_that_is_settled_again_is_not_counted_for_another() -> None:
    settled = Settled()
    asking = Asking(2, settled)
    first, second = items_of(asking, 2)
    for one in (first, first, second):
        one.settle(REPLY)
    assert settled.order == [0, 1]


async def test_who_waits_and_is_cancelled_has_given_up_at_once() -> None:
    settled = Settled()
    asking = Asking(1, settled)
    (one,) = items_of(asking, 1)
    waiting = asyncio.create_task(asking.end())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    one.settle(REPLY)
    assert settled.order == []


async def test_who_has_given_up_is_told_nothing_more() -> None:
    settled = Settled()
    asking = Asking(2, settled)
    first, second = items_of(asking, 2)
    first.settle(REPLY)
    asking.give_up()
    second.settle(REPLY)
    assert settled.order == [0]
