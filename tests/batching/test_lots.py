"""Which lot a row joins, and which lot goes out for it."""

import asyncio

import pytest

from llmscale.batching.lots import Item, Lot, LotCaps, OpenLots
from llmscale.records import Request

CAPS = LotCaps(items=6, tokens=10, size_bytes=100)


@pytest.fixture(autouse=True)
async def loop() -> None:
    """Futures and events want one."""


def item(tokens: int, size_bytes: int = 1) -> Item:
    request = Request(model="sim/v", text="x")
    return Item(request, tokens, size_bytes, asyncio.get_running_loop().create_future())


def put(lots: OpenLots, *tokens: int) -> list[Lot]:
    return [lots.put(item(count)) for count in tokens]


async def test_a_row_joins_the_fullest_lot_that_takes_it() -> None:
    five, seven, first, second = put(OpenLots(CAPS), 5, 7, 3, 4)
    assert first is seven
    assert second is five


async def test_of_lots_that_are_equally_full_the_oldest_is_joined() -> None:
    oldest, _, joined = put(OpenLots(CAPS), 6, 6, 4)
    assert joined is oldest


@pytest.mark.parametrize(
    ("tokens", "size_bytes"), [([1] * 6, 1), ([5, 5], 1), ([1, 1], 50), ([11], 1), ([1], 101)]
)
async def test_a_lot_is_closed_when_no_row_could_be_added(
    tokens: list[int], size_bytes: int
) -> None:
    lots = OpenLots(CAPS)
    *_, lot = [lots.put(item(count, size_bytes)) for count in tokens]
    assert lot.closed.is_set()
    assert lot.fill == 1.0
    assert lots.put(item(1)) is not lot


async def test_when_as_many_rows_gather_as_one_lot_may_have_the_fullest_goes_out() -> None:
    lots = OpenLots(CAPS)
    gathering = put(lots, 6, 8, 6, 6, 6)
    assert not any(lot.closed.is_set() for lot in gathering)
    last = lots.put(item(7))
    assert [lot.closed.is_set() for lot in (*gathering, last)] == [False, True, *[False] * 4]
    assert put(lots, 6) != [gathering[1]]


async def test_closing_twice_is_closing_once() -> None:
    lots = OpenLots(CAPS)
    (lot,) = put(lots, 6)
    for _ in range(2):
        lots.close(lot)
    gathering = put(lots, 6, 6, 6, 6, 6)
    assert not any(other.closed.is_set() for other in gathering), "its row counts no more"
    lots.close_all()
    assert all(other.closed.is_set() for other in gathering)


async def test_the_fill_is_the_share_of_the_cap_that_is_nearest() -> None:
    (lot,) = put(OpenLots(CAPS), 4)
    assert lot.fill == 0.4
    assert OpenLots(CAPS).put(item(4, 70)).fill == 0.7
