"""Lots: full ones go out at once, the others in time, and every row is settled, come what may.

The time is virtual.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from llmscale.batching.batcher import LAST_WAIT_S, Batcher
from llmscale.batching.lots import LotCaps
from llmscale.errors import CallFailed, CallStopped, LlmscaleError, ProviderRefused
from llmscale.records import Failure, Reply, Request, Usage
from llmscale.stats import Stats
from tests.answering import answer
from tests.virtual_time import now_s

pytestmark = pytest.mark.looptime


def text(number: int | str, model: str = "sim/v") -> Request:
    return Request(model=model, text=str(number))


def reply_to(request: Request) -> Reply:
    assert request.text is not None
    return Reply(
        text=None, finish_reason="stop", model="v", usage=Usage(1), vector=request.text.encode()
    )


class Recorded:
    """Answers each text with itself after a while, or raises what `fault` says of a lot."""

    def __init__(
        self,
        fault: Callable[[Sequence[Request]], LlmscaleError | None] = lambda _: None,
        latency_s: float = 0.0,
    ) -> None:
        self.lots: list[list[str | None]] = []
        self.sent_at_s: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self._fault = fault
        self._latency_s = latency_s

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self.lots.append([request.text for request in requests])
        self.sent_at_s.append(now_s())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self._latency_s)
        finally:
            self.in_flight -= 1
        error = self._fault(requests)
        if error is not None:
            raise error
        return [reply_to(request) for request in requests]


class ByLength:
    """A token for each character, and two bytes."""

    def of(self, request: Request) -> tuple[int, int]:
        size = len(request.text or "")
        return size, 2 * size

    def learn(self, requests: Sequence[Request], replies: Sequence[Reply]) -> None:
        """Nothing: it is known."""


def batcher(sends: Recorded, caps: LotCaps | None = None, stats: Stats | None = None) -> Batcher:
    return Batcher(sends, caps or LotCaps(), ByLength(), stats or Stats())


async def vectors(bridge: Batcher, requests: Sequence[Request]) -> list[bytes | None]:
    replies = await asyncio.gather(*(answer(bridge, request) for request in requests))
    return [reply.vector for reply in replies]


def refusal(kind: str = "invalid_request") -> CallFailed:
    return CallFailed(Failure(kind=kind, message="as scripted"))  # type: ignore[arg-type]


async def test_a_lot_goes_out_as_soon_as_it_has_its_number() -> None:
    sends = Recorded()
    asked = [text(n) for n in range(100)]
    assert await vectors(batcher(sends), asked) == [str(n).encode() for n in range(100)]
    assert [len(lot) for lot in sends.lots] == [50, 50]
    assert sends.sent_at_s == [0, 0]


async def test_the_last_lot_goes_out_a_second_after_its_first_row() -> None:
    sends = Recorded()
    bridge = batcher(sends)
    first = asyncio.create_task(answer(bridge, text("first")))
    await asyncio.sleep(0.9)
    later = asyncio.create_task(answer(bridge, text("later")))
    await asyncio.gather(first, later)
    assert sends.lots == [["first", "later"]]
    assert sends.sent_at_s == [pytest.approx(1.0, abs=0.05)]


async def test_the_second_of_a_new_lot_begins_with_its_own_first_row() -> None:
    sends = Recorded()
    bridge = batcher(sends, LotCaps(items=2))
    await asyncio.gather(answer(bridge, text(1)), answer(bridge, text(2)))
    await asyncio.sleep(10)
    await answer(bridge, text(3))
    assert sends.sent_at_s == [0, pytest.approx(11, abs=0.05)]


async def test_a_lot_never_has_more_tokens_than_its_cap() -> None:
    sends = Recorded()
    asked = [text("x" * size) for size in (4, 4, 4, 10, 1, 1)]
    await vectors(batcher(sends, LotCaps(tokens=10)), asked)
    sizes = [[len(one or "") for one in lot] for lot in sends.lots]
    assert sizes == [[10], [4, 4, 1, 1], [4]]


async def test_a_lot_never_has_more_bytes_than_its_cap() -> None:
    sends = Recorded()
    await vectors(batcher(sends, LotCaps(size_bytes=8)), [text("xx")] * 5)
    assert [len(lot) for lot in sends.lots] == [2, 2, 1]


async def test_a_row_above_a_cap_goes_alone() -> None:
    sends = Recorded()
    await vectors(batcher(sends, LotCaps(tokens=10)), [text("a"), text("x" * 99), text("b")])
    assert sends.lots == [["x" * 99], ["a", "b"]]


async def test_a_long_row_does_not_send_away_a_lot_that_short_ones_will_fill() -> None:
    sends = Recorded()
    asked = [text("x" * size) for size in (6, 6, 6, 4, 4, 4)]
    await vectors(batcher(sends, LotCaps(tokens=10)), asked)
    assert [[len(one or "") for one in lot] for lot in sends.lots] == [[6, 4]] * 3
    assert sends.sent_at_s == [0, 0, 0]


async def test_lots_that_gather_hold_no_more_rows_than_one_full_lot() -> None:
    """Else all rows in flight could wait for rows that can't come."""
    sends = Recorded()
    bridge = batcher(sends, LotCaps(items=4, tokens=10))
    rows = [asyncio.create_task(answer(bridge, text("x" * size))) for size in (7, 6, 8, 6)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [[len(one or "") for one in lot] for lot in sends.lots] == [[8]]
    await asyncio.gather(*rows)


async def test_each_lot_that_gathers_has_its_own_time() -> None:
    sends = Recorded()
    bridge = batcher(sends, LotCaps(tokens=10))
    first = asyncio.create_task(answer(bridge, text("x" * 6)))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(answer(bridge, text("y" * 6)))
    await asyncio.gather(first, second)
    assert sends.lots == [["x" * 6], ["y" * 6]]
    assert sends.sent_at_s == [pytest.approx(1.0, abs=0.05), pytest.approx(1.5, abs=0.05)]


@pytest.mark.parametrize("caps", [LotCaps(tokens=8_000), LotCaps(size_bytes=16_000)])
async def test_mixed_lengths_fill_the_cap_that_binds(caps: LotCaps) -> None:
    """Rows taken up as they are in a run: so many at once, the next when one is answered."""
    dice, stats = random.Random(1), Stats()
    sizes = [min(8_000, int(dice.lognormvariate(6, 1)) + 1) for _ in range(3_000)]
    bridge = batcher(Recorded(latency_s=0.1), caps, stats)
    rows = iter(text("x" * size) for size in sizes)

    async def work() -> None:
        for row in rows:
            await answer(bridge, row)
        bridge.end()

    await asyncio.gather(*(work() for _ in range(17 * caps.items)))
    assert stats.lots.rows == len(sizes)
    assert stats.lots.fill / stats.lots.count >= 0.95
    assert stats.lots.count <= 1.03 * sum(sizes) / 8_000 + 1


async def test_models_do_not_share_a_lot() -> None:
    sends = Recorded()
    asked = [text(n, model) for n in range(4) for model in ("sim/a", "sim/b")]
    assert await vectors(batcher(sends), asked) == [str(n // 2).encode() for n in range(8)]
    assert sorted(len(lot) for lot in sends.lots) == [4, 4]


async def test_once_the_input_has_ended_nothing_waits_long() -> None:
    sends = Recorded()
    bridge = batcher(sends)
    waiting = asyncio.create_task(answer(bridge, text(1)))
    await asyncio.sleep(0.1)
    bridge.end()
    await waiting
    assert sends.sent_at_s == [pytest.approx(0.1, abs=0.01)]
    await answer(bridge, text(2))
    assert sends.sent_at_s[1] - 0.1 == pytest.approx(LAST_WAIT_S, abs=0.01)


async def test_lots_are_in_flight_together() -> None:
    sends = Recorded(latency_s=5)
    await vectors(batcher(sends), [text(n) for n in range(500)])
    assert sends.most_in_flight == 10
    assert now_s() == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("bad", [0, 1, 24, 25, 49])
async def test_one_bad_text_in_fifty_stands_alone_after_thirteen_calls_at_most(bad: int) -> None:
    sends = Recorded(lambda lot: refusal() if any(r.text == str(bad) for r in lot) else None)
    bridge = batcher(sends)
    outcomes = await asyncio.gather(
        *(answer(bridge, text(n)) for n in range(50)), return_exceptions=True
    )
    failed = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)]
    assert failed == [bad]
    assert isinstance(outcomes[bad], CallFailed)
    right = [reply_to(text(n)) for n in range(50) if n != bad]
    assert [one for one in outcomes if not isinstance(one, BaseException)] == right
    assert len(sends.lots) <= 13


async def test_a_lot_that_fails_for_another_reason_is_not_divided() -> None:
    sends = Recorded(lambda _: refusal("server_error"))
    bridge = batcher(sends)
    outcomes = await asyncio.gather(
        *(answer(bridge, text(n)) for n in range(50)), return_exceptions=True
    )
    assert all(isinstance(outcome, CallFailed) for outcome in outcomes)
    assert len(sends.lots) == 1


@pytest.mark.parametrize("error", [ProviderRefused("no key"), CallStopped()])
async def test_what_ends_the_job_is_told_once_and_leaves_no_row_waiting(
    error: LlmscaleError,
) -> None:
    bridge = batcher(Recorded(lambda _: error))
    outcomes = await asyncio.gather(
        *(answer(bridge, text(n)) for n in range(3)), return_exceptions=True
    )
    assert outcomes[0] is error
    assert [type(one) for one in outcomes[1:]] == [CallStopped] * 2


async def test_a_call_that_answers_too_few_fails_all_of_its_rows() -> None:
    class Short(Recorded):
        async def send(self, requests: Sequence[Request]) -> list[Reply]:
            return (await super().send(requests))[:-1]

    bridge = batcher(Short(), LotCaps(items=3))
    outcomes = await asyncio.gather(
        *(answer(bridge, text(n)) for n in range(3)), return_exceptions=True
    )
    assert all(isinstance(outcome, CallFailed) for outcome in outcomes)
    assert len(outcomes) == 3


async def test_when_the_row_that_sends_is_given_up_the_others_stay_pending() -> None:
    bridge = batcher(Recorded(latency_s=10), LotCaps(items=3))
    rows = [asyncio.create_task(answer(bridge, text(n))) for n in range(3)]
    await asyncio.sleep(1)
    rows[0].cancel()
    outcomes = await asyncio.gather(*rows, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [type(one) for one in outcomes[1:]] == [CallStopped] * 2


async def test_a_row_that_is_given_up_does_not_take_the_others_with_it() -> None:
    sends = Recorded(latency_s=10)
    bridge = batcher(sends, LotCaps(items=3))
    rows = [asyncio.create_task(answer(bridge, text(n))) for n in range(3)]
    await asyncio.sleep(1)
    rows[2].cancel()
    outcomes = await asyncio.gather(*rows, return_exceptions=True)
    assert outcomes[:2] == [reply_to(text(0)), reply_to(text(1))]


async def test_lots_are_counted_with_their_fill() -> None:
    stats = Stats()
    await vectors(batcher(Recorded(), LotCaps(items=10), stats), [text(n) for n in range(25)])
    assert stats.lots.summary() == {
        "count": 3,
        "rows": 25,
        "mean_rows": pytest.approx(25 / 3, abs=0.001),
        "mean_fill": pytest.approx(2.5 / 3, abs=0.001),
    }


async def test_whatever_comes_when_every_row_has_its_own_answer() -> None:
    dice = random.Random(1)
    sends = Recorded(latency_s=0.3)
    bridge = batcher(sends, LotCaps(items=7, tokens=40, wait_s=0.5))
    asked = [text("x" * dice.randint(1, 15) + str(n)) for n in range(300)]

    async def ask(request: Request) -> bytes | None:
        await asyncio.sleep(dice.uniform(0, 10))
        return (await answer(bridge, request)).vector

    found = await asyncio.gather(*(ask(request) for request in asked))
    assert found == [(request.text or "").encode() for request in asked]
    assert sum(len(lot) for lot in sends.lots) == 300
    assert all(len(lot) <= 7 for lot in sends.lots)
