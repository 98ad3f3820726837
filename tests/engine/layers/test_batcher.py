"""Lots: full ones go out at once, the others in time, and every row is delivered, come what may.

The time is virtual.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest
from msgspec import to_builtins

from llmscale.accounting.stats import Stats
from llmscale.core.errors import (
    CallFailed,
    CallStopped,
    LlmscaleError,
    ProviderRefused,
    first_error,
)
from llmscale.core.records import Failure, FailureKind, Reply, Request, Usage
from llmscale.engine.layers.batcher import LAST_WAIT_S, Batcher
from llmscale.engine.layers.batches import BatchCaps
from tests.engine.answering import Delivered, answer, ends
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
    """Answers each text with itself after a while, or raises what `fault` says of a batch."""

    def __init__(
        self,
        fault: Callable[[Sequence[Request]], LlmscaleError | None] = lambda _: None,
        latency_s: float = 0.0,
    ) -> None:
        self.batches: list[list[str | None]] = []
        self.sent_at_s: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self._fault = fault
        self._latency_s = latency_s

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self.batches.append([request.text for request in requests])
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


def batcher(sends: Recorded, caps: BatchCaps | None = None, stats: Stats | None = None) -> Batcher:
    return Batcher(sends, caps or BatchCaps(), ByLength(), stats or Stats())


async def vectors(bridge: Batcher, requests: Sequence[Request]) -> list[bytes | None]:
    replies = await asyncio.gather(*(answer(bridge, request) for request in requests))
    return [reply.vector for reply in replies]


def refusal(kind: str = "invalid_request") -> CallFailed:
    return CallFailed(Failure(kind=kind, message="as scripted"))  # type: ignore[arg-type]


async def test_a_lot_goes_out_as_soon_as_it_has_its_number() -> None:
    sends = Recorded()
    asked = [text(n) for n in range(100)]
    assert await vectors(batcher(sends), asked) == [str(n).encode() for n in range(100)]
    assert [len(batch) for batch in sends.batches] == [50, 50]
    assert sends.sent_at_s == [0, 0]


async def test_the_last_lot_goes_out_a_second_after_its_first_row() -> None:
    sends = Recorded()
    bridge = batcher(sends)
    first = asyncio.create_task(answer(bridge, text("first")))
    await asyncio.sleep(0.9)
    later = asyncio.create_task(answer(bridge, text("later")))
    await asyncio.gather(first, later)
    assert sends.batches == [["first", "later"]]
    assert sends.sent_at_s == [pytest.approx(1.0, abs=0.05)]


async def test_the_second_of_a_new_lot_begins_with_its_own_first_row() -> None:
    sends = Recorded()
    bridge = batcher(sends, BatchCaps(items=2))
    await asyncio.gather(answer(bridge, text(1)), answer(bridge, text(2)))
    await asyncio.sleep(10)
    await answer(bridge, text(3))
    assert sends.sent_at_s == [0, pytest.approx(11, abs=0.05)]


async def test_a_lot_never_has_more_tokens_than_its_cap() -> None:
    sends = Recorded()
    asked = [text("x" * size) for size in (4, 4, 4, 10, 1, 1)]
    await vectors(batcher(sends, BatchCaps(tokens=10)), asked)
    sizes = [[len(one or "") for one in batch] for batch in sends.batches]
    assert sizes == [[10], [4, 4, 1, 1], [4]]


async def test_a_lot_never_has_more_bytes_than_its_cap() -> None:
    sends = Recorded()
    await vectors(batcher(sends, BatchCaps(size_bytes=8)), [text("xx")] * 5)
    assert [len(batch) for batch in sends.batches] == [2, 2, 1]


async def test_a_row_above_a_cap_goes_alone() -> None:
    sends = Recorded()
    await vectors(batcher(sends, BatchCaps(tokens=10)), [text("a"), text("x" * 99), text("b")])
    assert sends.batches == [["x" * 99], ["a", "b"]]


async def test_a_long_row_does_not_send_away_a_lot_that_short_ones_will_fill() -> None:
    sends = Recorded()
    asked = [text("x" * size) for size in (6, 6, 6, 4, 4, 4)]
    await vectors(batcher(sends, BatchCaps(tokens=10)), asked)
    assert [[len(one or "") for one in batch] for batch in sends.batches] == [[6, 4]] * 3
    assert sends.sent_at_s == [0, 0, 0]


async def test_lots_that_gather_hold_no_more_rows_than_one_full_lot() -> None:
    """Else all rows in flight could wait for rows that can't come."""
    sends = Recorded()
    bridge = batcher(sends, BatchCaps(items=4, tokens=10))
    rows = [asyncio.create_task(answer(bridge, text("x" * size))) for size in (7, 6, 8, 6)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [[len(one or "") for one in batch] for batch in sends.batches] == [[8]]
    await asyncio.gather(*rows)


async def test_each_lot_that_gathers_has_its_own_time() -> None:
    sends = Recorded()
    bridge = batcher(sends, BatchCaps(tokens=10))
    first = asyncio.create_task(answer(bridge, text("x" * 6)))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(answer(bridge, text("y" * 6)))
    await asyncio.gather(first, second)
    assert sends.batches == [["x" * 6], ["y" * 6]]
    assert sends.sent_at_s == [pytest.approx(1.0, abs=0.05), pytest.approx(1.5, abs=0.05)]


@pytest.mark.parametrize("caps", [BatchCaps(tokens=8_000), BatchCaps(size_bytes=16_000)])
async def test_mixed_lengths_fill_the_cap_that_binds(caps: BatchCaps) -> None:
    """Rows taken up as they are in a run: so many at once, the next when one is answered."""
    rng, stats = random.Random(1), Stats()
    sizes = [min(8_000, int(rng.lognormvariate(6, 1)) + 1) for _ in range(3_000)]
    bridge = batcher(Recorded(latency_s=0.1), caps, stats)
    rows = iter(text("x" * size) for size in sizes)

    async def work() -> None:
        for row in rows:
            await answer(bridge, row)
        bridge.end()

    await asyncio.gather(*(work() for _ in range(17 * caps.items)))
    assert stats.batches.rows == len(sizes)
    assert stats.batches.fill / stats.batches.count >= 0.95
    assert stats.batches.count <= 1.03 * sum(sizes) / 8_000 + 1


async def test_models_do_not_share_a_lot() -> None:
    sends = Recorded()
    asked = [text(n, model) for n in range(4) for model in ("sim/a", "sim/b")]
    assert await vectors(batcher(sends), asked) == [str(n // 2).encode() for n in range(8)]
    assert sorted(len(batch) for batch in sends.batches) == [4, 4]


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
    sends = Recorded(lambda batch: refusal() if any(r.text == str(bad) for r in batch) else None)
    bridge = batcher(sends)
    outcomes = await asyncio.gather(
        *(answer(bridge, text(n)) for n in range(50)), return_exceptions=True
    )
    failed = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)]
    assert failed == [bad]
    assert isinstance(outcomes[bad], CallFailed)
    right = [reply_to(text(n)) for n in range(50) if n != bad]
    assert [one for one in outcomes if not isinstance(one, BaseException)] == right
    assert len(sends.batches) <= 13


@pytest.mark.parametrize("kind", ["invalid_request", "server_error", "bad_response"])
@pytest.mark.parametrize("bad", [{17}, {0, 49}, {1, 2, 30}])
async def test_bad_texts_are_found_whatever_the_failure_and_the_others_are_answered(
    kind: FailureKind, bad: set[int]
) -> None:
    names = {str(number) for number in bad}
    sends = Recorded(lambda batch: refusal(kind) if any(r.text in names for r in batch) else None)
    found = await ends(batcher(sends, BatchCaps(items=50)), texts(*range(50)))
    expected = ["CallFailed" if n in bad else str(n) for n in range(50)]
    assert texts_of(found) == expected
    assert len(sends.batches) <= 13 * len(bad)


@pytest.mark.parametrize("kind", ["rate_limited", "overloaded", "connection", "timeout"])
async def test_a_batch_that_fails_for_another_reason_is_not_divided(kind: FailureKind) -> None:
    sends = Recorded(lambda _: refusal(kind))
    bridge = batcher(sends)
    outcomes = await asyncio.gather(
        *(answer(bridge, text(n)) for n in range(50)), return_exceptions=True
    )
    assert all(isinstance(outcome, CallFailed) for outcome in outcomes)
    assert len(sends.batches) == 1


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

    bridge = batcher(Short(), BatchCaps(items=3))
    outcomes = await asyncio.gather(
        *(answer(bridge, text(n)) for n in range(3)), return_exceptions=True
    )
    assert all(isinstance(outcome, CallFailed) for outcome in outcomes)
    assert len(outcomes) == 3


async def test_when_the_row_that_sends_is_given_up_the_others_stay_pending() -> None:
    bridge = batcher(Recorded(latency_s=10), BatchCaps(items=3))
    rows = [asyncio.create_task(answer(bridge, text(n))) for n in range(3)]
    await asyncio.sleep(1)
    rows[0].cancel()
    outcomes = await asyncio.gather(*rows, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [type(one) for one in outcomes[1:]] == [CallStopped] * 2


async def test_a_row_that_is_given_up_does_not_take_the_others_with_it() -> None:
    sends = Recorded(latency_s=10)
    bridge = batcher(sends, BatchCaps(items=3))
    rows = [asyncio.create_task(answer(bridge, text(n))) for n in range(3)]
    await asyncio.sleep(1)
    rows[2].cancel()
    outcomes = await asyncio.gather(*rows, return_exceptions=True)
    assert outcomes[:2] == [reply_to(text(0)), reply_to(text(1))]


async def test_lots_are_counted_with_their_fill() -> None:
    stats = Stats()
    await vectors(batcher(Recorded(), BatchCaps(items=10), stats), [text(n) for n in range(25)])
    assert to_builtins(stats.batches.summary()) == {
        "count": 3,
        "rows": 25,
        "mean_rows": pytest.approx(25 / 3, abs=0.001),
        "mean_fill": pytest.approx(2.5 / 3, abs=0.001),
    }


async def test_whatever_comes_when_every_row_has_its_own_answer() -> None:
    rng = random.Random(1)
    sends = Recorded(latency_s=0.3)
    bridge = batcher(sends, BatchCaps(items=7, tokens=40, wait_s=0.5))
    asked = [text("x" * rng.randint(1, 15) + str(n)) for n in range(300)]

    async def ask(request: Request) -> bytes | None:
        await asyncio.sleep(rng.uniform(0, 10))
        return (await answer(bridge, request)).vector

    found = await asyncio.gather(*(ask(request) for request in asked))
    assert found == [(request.text or "").encode() for request in asked]
    assert sum(len(batch) for batch in sends.batches) == 300
    assert all(len(batch) <= 7 for batch in sends.batches)


# --- rows that are asked together


def texts_of(results: Sequence[Reply | Exception]) -> list[str]:
    """Return of each row the text that it was answered with, or what it has met."""
    return [
        type(one).__name__ if isinstance(one, Exception) else (one.vector or b"").decode()
        for one in results
    ]


def begin(bridge: Batcher, asked: Sequence[Request]) -> tuple[asyncio.Task[None], Delivered]:
    """Ask for a group, and return what tells of each row as it is delivered."""
    delivered = Delivered()
    return asyncio.create_task(bridge.answer_all(delivered.rows(asked))), delivered


def texts(*numbers: int) -> list[Request]:
    return [text(number) for number in numbers]


async def test_rows_of_one_group_go_out_in_several_batches_each_at_once_when_it_is_full() -> None:
    sends = Recorded(latency_s=5)
    found = await ends(batcher(sends, BatchCaps(items=4)), texts(*range(12)))
    assert texts_of(found) == [str(n) for n in range(12)]
    assert [len(batch) for batch in sends.batches] == [4, 4, 4]
    assert (sends.sent_at_s, sends.most_in_flight) == ([0, 0, 0], 3)


async def test_a_group_that_does_not_fill_its_last_lot_waits_for_that_one_only() -> None:
    sends = Recorded()
    running, delivered = begin(batcher(sends, BatchCaps(items=4)), texts(*range(6)))
    await asyncio.sleep(0.5)
    assert sorted(delivered.order) == [0, 1, 2, 3]
    await running
    assert delivered.order[4:] == [4, 5]
    assert sends.sent_at_s == [0, pytest.approx(1.0, abs=0.05)]


async def test_several_groups_are_in_one_lot_and_each_is_told_of_its_own() -> None:
    sends = Recorded()
    bridge = batcher(sends, BatchCaps(items=6))
    found = await asyncio.gather(*(ends(bridge, texts(n, 10 + n)) for n in range(3)))
    assert [texts_of(results) for results in found] == [[str(n), str(10 + n)] for n in range(3)]
    assert sends.batches == [["0", "10", "1", "11", "2", "12"]]


async def test_a_group_of_several_models_has_a_lot_of_each() -> None:
    sends = Recorded(latency_s=5)
    asked = [text(n, f"sim/{'abc'[n % 3]}") for n in range(9)]
    found = await ends(batcher(sends, BatchCaps(items=3)), asked)
    assert texts_of(found) == [str(n) for n in range(9)]
    assert sends.batches == [["0", "3", "6"], ["1", "4", "7"], ["2", "5", "8"]]
    assert sends.most_in_flight == 3


async def test_no_rows_are_asked_for_nothing() -> None:
    sends = Recorded()
    assert await ends(batcher(sends), []) == []
    assert sends.batches == []


async def test_a_batch_that_fails_fails_its_own_rows_in_every_group() -> None:
    sends = Recorded(lambda batch: refusal("overloaded") if batch[0].text == "0" else None)
    bridge = batcher(sends, BatchCaps(items=4))
    one, other = await asyncio.gather(
        ends(bridge, texts(0, 1, 2)), ends(bridge, texts(3, 4, 5, 6, 7))
    )
    assert texts_of(one) == ["CallFailed"] * 3
    assert texts_of(other) == ["CallFailed", "4", "5", "6", "7"]


async def test_a_fault_in_one_lot_is_none_of_the_others() -> None:
    class Faulty(Recorded):
        async def send(self, requests: Sequence[Request]) -> list[Reply]:
            if requests[0].text == "2":
                raise ValueError("a fault of ours")
            return await super().send(requests)

    found = await ends(batcher(Faulty(), BatchCaps(items=2)), texts(*range(6)))
    assert texts_of(found) == ["0", "1", "ValueError", "ValueError", "4", "5"]


@pytest.mark.parametrize("before_it_goes_out", [True, False])
async def test_when_who_leads_a_lot_is_given_up_the_rows_of_other_groups_in_it_are_stopped(
    before_it_goes_out: bool,
) -> None:
    sends = Recorded(latency_s=10)
    bridge = batcher(sends, BatchCaps(items=9 if before_it_goes_out else 4))
    leading, of_leader = begin(bridge, texts(0, 1))
    following, of_follower = begin(bridge, texts(2, 3))
    await asyncio.sleep(0.5)
    leading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leading
    async with asyncio.timeout(1):
        await following
    assert of_leader.order == []
    for ended in of_follower.by_position.values():
        assert isinstance(ended, CallStopped)
        assert ended.may_be_paid is not before_it_goes_out
    assert of_follower.by_position.keys() == {0, 1}
    assert texts_of(await ends(bridge, texts(4))) == ["4"], "the batch takes no rows any more"
    assert sends.batches[-1] == ["4"]


async def test_rows_of_a_group_that_are_in_no_lot_of_who_is_given_up_are_answered() -> None:
    bridge = batcher(Recorded(latency_s=10), BatchCaps(items=3))
    leading, _ = begin(bridge, texts(0, 1))
    following, delivered = begin(bridge, texts(*range(2, 9)))
    await asyncio.sleep(0.5)
    leading.cancel()
    await asyncio.gather(leading, following, return_exceptions=True)
    found = texts_of([delivered.by_position[n] for n in range(7)])
    assert found == ["CallStopped", *(str(n) for n in range(3, 9))]


async def test_a_group_that_is_given_up_takes_no_note_any_more() -> None:
    bridge = batcher(Recorded(latency_s=10), BatchCaps(items=4))
    leading, of_leader = begin(bridge, texts(0, 1, 2))
    following, of_follower = begin(bridge, texts(3))
    await asyncio.sleep(1)
    following.cancel()
    await asyncio.gather(leading, following, return_exceptions=True)
    assert (sorted(of_leader.order), of_follower.order) == ([0, 1, 2], [])


@pytest.mark.parametrize("sizes", [[1] * 12, [2, 3, 5, 2], [5, 5, 2], [4, 1, 7], [3] * 4])
async def test_groups_that_are_given_up_together_take_no_note_of_each_other(
    sizes: list[int],
) -> None:
    bridge = batcher(Recorded(latency_s=10), BatchCaps(items=3))
    groups = [begin(bridge, texts(*range(size))) for size in sizes]
    await asyncio.sleep(0.5)
    for running, _ in groups:
        running.cancel()
    await asyncio.gather(*(running for running, _ in groups), return_exceptions=True)
    await asyncio.sleep(100)
    assert [delivered.order for _, delivered in groups] == [[] for _ in sizes]


@pytest.mark.parametrize("items", [2, 3, 50])
async def test_what_stops_the_job_is_raised_and_leaves_no_group_waiting(items: int) -> None:
    refused = ProviderRefused("no key")
    bridge = batcher(Recorded(lambda _: refused, latency_s=1), BatchCaps(items=items))
    groups = [ends(bridge, texts(*range(size))) for size in (5, 1, 7)]
    async with asyncio.timeout(100):
        found = await asyncio.gather(*groups, return_exceptions=True)
    assert found[0] is refused
    for one in found[1:]:
        assert one is refused or (isinstance(one, list) and set(texts_of(one)) == {"CallStopped"})


@pytest.mark.parametrize(("leads", "may_be_paid"), [(2, False), (5, True)])
async def test_a_row_of_a_refused_lot_is_not_paid_and_one_of_the_lot_beside_it_may_be(
    leads: int, may_be_paid: bool
) -> None:
    """The leader of a batch of three or two is refused; another row is in the last."""
    refused = ProviderRefused("no key")

    class Refusing(Recorded):
        async def send(self, requests: Sequence[Request]) -> list[Reply]:
            if requests[0].text == "0":
                await asyncio.sleep(1)
                raise refused
            return await super().send(requests)

    bridge = batcher(Refusing(latency_s=10), BatchCaps(items=3))
    leading, _ = begin(bridge, texts(*range(leads)))
    following, delivered = begin(bridge, texts(leads))
    (ended,) = await asyncio.gather(leading, return_exceptions=True)
    assert isinstance(ended, BaseException)
    assert first_error(ended) is refused
    await following
    (of_follower,) = delivered.by_position.values()
    assert isinstance(of_follower, CallStopped)
    assert of_follower.may_be_paid is may_be_paid


@pytest.mark.parametrize("bad", [0, 3, 9])
async def test_a_bad_text_stands_alone_among_the_rows_of_several_groups(bad: int) -> None:
    sends = Recorded(lambda batch: refusal() if any(r.text == str(bad) for r in batch) else None)
    bridge = batcher(sends, BatchCaps(items=10))
    groups = texts(0, 1, 2), texts(3), texts(4, 5, 6, 7, 8, 9)
    found = await asyncio.gather(*(ends(bridge, group) for group in groups))
    flat = [one for results in found for one in texts_of(results)]
    assert flat == ["CallFailed" if n == bad else str(n) for n in range(10)]


class Moody(Recorded):
    """Answers, fails for a while or for what is asked, or not as it should."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self._latency_s = self._rng.uniform(0, 3)
        replies = await super().send(requests)
        if any((request.text or "").startswith("bad") for request in requests):
            raise refusal()
        fate = self._rng.random()
        if fate < 0.1:
            raise refusal("server_error")
        if fate < 0.15:
            raise ValueError("a fault of ours")
        if fate < 0.2:
            raise CallStopped
        return replies[:-1] if fate < 0.25 else replies


@pytest.mark.parametrize("seed", range(30))
async def test_groups_at_random_deliver_each_row_once_with_its_own_answer(seed: int) -> None:
    rng = random.Random(seed)
    caps = BatchCaps(items=rng.randint(1, 12), tokens=rng.choice([20, 60, 1_000]), wait_s=0.5)
    sends = Moody(rng)
    bridge = batcher(sends, caps)
    answered = given_up = 0

    async def group(number: int) -> None:
        nonlocal answered, given_up
        await asyncio.sleep(rng.choice([0.0, rng.uniform(0, 10)]))
        asked = [
            text(
                f"{'bad' if rng.random() < 0.05 else ''}{number}-{row}" + "x" * rng.randint(0, 9),
                rng.choice(["sim/a", "sim/b"]),
            )
            for row in range(rng.randint(0, 15))
        ]
        delivered = Delivered()
        try:
            async with asyncio.timeout(1.0 if rng.random() < 0.1 else 1e6):
                await bridge.answer_all(delivered.rows(asked))
        except TimeoutError:
            given_up += 1
        else:
            assert sorted(delivered.order) == list(range(len(asked)))
        for position, result in delivered.by_position.items():
            if isinstance(result, Reply):
                assert result == reply_to(asked[position])
                assert not (asked[position].text or "").startswith("bad")
                answered += 1

    async with asyncio.timeout(1e5), asyncio.TaskGroup() as groups:
        for number in range(40):
            groups.create_task(group(number))
    assert answered > 50
    assert max(map(len, sends.batches)) <= caps.items
    assert sends.in_flight == 0
    assert not any(batches._batches for batches in bridge._open.values()), (
        "no batch gathers any more"
    )
