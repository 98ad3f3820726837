"""The layer that asks once: modes, what is stored, and identical requests in flight (K01)."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from llmscale.accounting.stats import Stats
from llmscale.core.asked_row import AskedRow
from llmscale.core.cache_records import Entry
from llmscale.core.choices import CacheMode
from llmscale.core.errors import CallFailed, CallStopped, ProviderRefused
from llmscale.core.output_line import line_of
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.engine.cache.keys import fingerprint, key_of
from llmscale.engine.layers.cache import CacheLayer, is_storable
from llmscale.engine.layers.schema import SchemaLayer
from tests.engine.answering import Delivered, RowByRow, answer, ends
from tests.engine.cache import answer_to, entry_of, questions, reply, request

pytestmark = pytest.mark.looptime

MODES: list[CacheMode] = ["on", "read", "write", "refresh"]
ROWS = 64


class Memory:
    """Replies in memory. Looking up takes a while, as in another process.

    Or None, not even a turn of the loop, as on this disk.
    """

    def __init__(self, *stored: Request, takes_s: float | None = 0.0) -> None:
        self.entries = {key_of(one): entry_of(one) for one in stored}
        self.looked_up: Counter[str] = Counter()
        self.look_ups = 0
        self.stored: Counter[str] = Counter()
        self._takes_s = takes_s

    async def get_many(self, keys: Collection[str]) -> dict[str, Entry]:
        self.look_ups += 1
        self.looked_up.update(keys)
        if self._takes_s is not None:
            await asyncio.sleep(self._takes_s)
        return {key: self.entries[key] for key in keys if key in self.entries}

    def put(self, key: str, entry: Entry, model: str) -> None:
        assert model
        self.stored[key] += 1
        self.entries[key] = entry

    def when_safe(self, then: Callable[[], None]) -> None:
        raise AssertionError("the writer of outcomes waits for that, not a row")

    def summary(self) -> dict[str, int]:
        raise AssertionError("a report asks for that, not a row")

    async def aclose(self) -> None:
        raise AssertionError("a session closes it, not a row")


class Scripted(RowByRow):
    """Answers right after a second, but for the first calls, which do what is written.

    A number is the seconds that a call takes, an error is raised after a second, a reply given.
    """

    def __init__(self, *script: float | BaseException | Reply, takes_s: float = 1.0) -> None:
        self.calls: Counter[str] = Counter()
        self.most_in_flight = 0
        self._in_flight: Counter[str] = Counter()
        self._script = list(script)
        self._takes_s = takes_s

    async def answer(self, request: Request) -> Reply:
        key = key_of(request)
        self.calls[key] += 1
        self._in_flight[key] += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight[key])
        try:
            step = self._script.pop(0) if self._script else self._takes_s
            await asyncio.sleep(step if isinstance(step, float | int) else self._takes_s)
        finally:
            self._in_flight[key] -= 1
        if isinstance(step, BaseException):
            raise step
        return step if isinstance(step, Reply) else answer_to(request)


class Bench:
    """The layer between a script and a memory."""

    def __init__(
        self, *script: Any, memory: Memory | None = None, mode: CacheMode = "on", takes_s: float = 1
    ) -> None:
        self.inner = Scripted(*script, takes_s=takes_s)
        self.memory = memory or Memory()
        self.stats = Stats()
        self.cached = CacheLayer(self.inner, self.memory, self.stats, mode)

    def start(self, asked: Request, rows: int = ROWS) -> list[asyncio.Task[Reply]]:
        """Ask the same question for many rows at once."""
        return [asyncio.create_task(answer(self.cached, asked)) for _ in range(rows)]

    async def ends(self, rows: Sequence[asyncio.Task[Reply]]) -> list[Reply | BaseException]:
        """Return what became of each row, and insist that nothing is left in flight."""
        async with asyncio.timeout(10_000):
            ends = await asyncio.gather(*rows, return_exceptions=True)
        assert self.cached._flights == {}
        return ends

    @property
    def lookups(self) -> tuple[int, int]:
        """Hits and misses."""
        found = self.stats.lookups()
        return found.hits, found.misses


def failed(kind: Any = "server_error") -> CallFailed:
    return CallFailed(Failure(kind=kind, message="as scripted"), 5)


def answered(ends: Sequence[Reply | BaseException]) -> list[Reply]:
    """Return the replies; fail where one is not the right one."""
    replies = [end for end in ends if isinstance(end, Reply)]
    assert {one.text for one in replies} <= {answer_to(request()).text}
    return replies


# --- identical requests in flight


async def test_identical_requests_at_once_make_one_call_and_answer_every_row() -> None:
    bench = Bench()
    replies = answered(await bench.ends(bench.start(request())))
    assert len(replies) == ROWS
    assert bench.inner.calls.total() == 1
    assert sorted((one.deduped, one.attempts) for one in replies) == [
        (False, 1),
        *[(True, 0)] * (ROWS - 1),
    ]
    assert not any(one.cached for one in replies)
    assert bench.lookups == (0, 1)
    assert bench.memory.stored.total() == 1


async def test_all_are_answered_at_the_moment_the_call_is() -> None:
    bench = Bench(7.0)
    began_s = asyncio.get_running_loop().time()
    await bench.ends(bench.start(request()))
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(7.0)


@pytest.mark.parametrize("failures", [1, 2, 5])
async def test_a_leader_that_fails_hands_over_and_each_makes_one_call(failures: int) -> None:
    bench = Bench(*(failed() for _ in range(failures)))
    ends = await bench.ends(bench.start(request()))
    assert len(answered(ends)) == ROWS - failures
    assert bench.inner.calls.total() == failures + 1
    assert bench.inner.most_in_flight == 1
    assert sum(isinstance(end, CallFailed) for end in ends) == failures
    assert sum(one.deduped for one in answered(ends)) == ROWS - failures - 1


async def test_where_every_call_fails_every_row_fails_by_a_call_of_its_own() -> None:
    bench = Bench(*(failed() for _ in range(ROWS)))
    ends = await bench.ends(bench.start(request()))
    assert all(isinstance(end, CallFailed) for end in ends)
    assert bench.inner.calls.total() == ROWS
    assert bench.inner.most_in_flight == 1
    assert bench.memory.stored.total() == 0


async def test_a_leader_that_is_cancelled_hands_over() -> None:
    bench = Bench(1e6)
    rows = bench.start(request())
    await asyncio.sleep(0.5)
    rows[0].cancel()
    ends = await bench.ends(rows)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert len(answered(ends)) == ROWS - 1
    assert bench.inner.calls.total() == 2


async def test_a_leader_that_times_out_hands_over() -> None:
    bench = Bench(1e6)

    async def impatient() -> Reply:
        async with asyncio.timeout(10):
            return await answer(bench.cached, request())

    rows = [asyncio.create_task(impatient()), *bench.start(request(), ROWS - 1)]
    ends = await bench.ends(rows)
    assert isinstance(ends[0], TimeoutError)
    assert len(answered(ends)) == ROWS - 1
    assert bench.inner.calls.total() == 2


async def test_a_call_that_times_out_below_fails_one_row_and_the_next_asks() -> None:
    bench = Bench(failed("timeout"))
    ends = await bench.ends(bench.start(request()))
    assert [end for end in ends if not isinstance(end, Reply)] == [ends[0]]
    assert bench.inner.calls.total() == 2


async def test_a_waiter_that_is_cancelled_disturbs_nobody() -> None:
    bench = Bench(10.0)
    rows = bench.start(request())
    await asyncio.sleep(5)
    for row in rows[1::2]:
        row.cancel()
    ends = await bench.ends(rows)
    assert len(answered(ends)) == ROWS / 2
    assert bench.inner.calls.total() == 1
    assert bench.memory.stored.total() == 1


async def test_when_all_waiters_are_cancelled_the_leader_goes_on() -> None:
    bench = Bench(10.0)
    rows = bench.start(request())
    await asyncio.sleep(5)
    for row in rows[1:]:
        row.cancel()
    ends = await bench.ends(rows)
    assert len(answered(ends)) == 1
    assert bench.inner.calls.total() == 1


async def test_when_all_are_cancelled_nothing_is_left_and_the_next_row_asks() -> None:
    bench = Bench(10.0)
    rows = bench.start(request())
    await asyncio.sleep(5)
    for row in rows:
        row.cancel()
    ends = await bench.ends(rows)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    assert bench.inner.calls.total() == 1
    assert len(answered(await bench.ends(bench.start(request(), 1)))) == 1
    assert bench.inner.calls.total() == 2


async def test_a_leader_that_is_cancelled_just_as_it_is_answered_leaves_nobody_waiting() -> None:
    bench = Bench(1.0)
    rows = bench.start(request())
    asyncio.get_running_loop().call_later(1.0, rows[0].cancel)
    ends = await bench.ends(rows)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert len(answered(ends)) == ROWS - 1
    assert bench.inner.calls.total() == 2


async def test_an_answer_is_with_the_store_when_its_row_is_answered() -> None:
    """Who then asks whether all is safe asks for this answer too."""
    bench = Bench()
    await answer(bench.cached, request())
    assert bench.memory.stored == {key_of(request()): 1}


async def test_different_requests_do_not_wait_for_each_other() -> None:
    bench = Bench()
    began_s = asyncio.get_running_loop().time()
    rows = [row for one in questions(20) for row in bench.start(one, 3)]
    ends = await bench.ends(rows)
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(1.0)
    asked = [one for one in questions(20) for _ in range(3)]
    for one, end in zip(asked, ends, strict=True):
        assert isinstance(end, Reply)
        assert end.text == answer_to(one).text
    assert set(bench.inner.calls.values()) == {1}


async def test_samples_of_one_prompt_are_answers_of_their_own() -> None:
    bench = Bench()
    rows = [row for sample in range(5) for row in bench.start(request(sample=sample), 2)]
    await bench.ends(rows)
    assert bench.inner.calls.total() == len(bench.inner.calls) == 5
    assert len(bench.memory.entries) == 5


async def test_one_look_up_answers_all_who_came_for_a_stored_answer() -> None:
    bench = Bench(memory=Memory(request(), takes_s=1.0))
    replies = answered(await bench.ends(bench.start(request())))
    assert [(one.cached, one.deduped, one.attempts) for one in replies] == [(True, False, 0)] * ROWS
    assert bench.inner.calls.total() == 0
    assert bench.memory.looked_up.total() == 1
    assert bench.lookups == (1, 0)


async def test_an_answer_that_is_not_stored_is_still_shared_by_who_waits_for_it() -> None:
    cut = replace(answer_to(request()), finish_reason="length")
    bench = Bench(cut)
    replies = answered(await bench.ends(bench.start(request())))
    assert {one.finish_reason for one in replies} == {"length"}
    assert bench.inner.calls.total() == 1
    assert bench.memory.stored.total() == 0


async def test_a_job_that_is_refused_is_refused_once() -> None:
    """The rows that wait for a leader do not hammer the key before they are cancelled."""
    bench = Bench(*(ProviderRefused("no") for _ in range(ROWS)))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            rows = [group.create_task(answer(bench.cached, request())) for _ in range(ROWS)]
    assert {type(error) for error in caught.value.exceptions} == {ProviderRefused}
    assert bench.inner.calls.total() == 1
    await bench.ends(rows)


async def test_a_run_that_stops_stops_every_row() -> None:
    bench = Bench(*(CallStopped() for _ in range(ROWS)), takes_s=0)
    ends = await bench.ends(bench.start(request()))
    assert all(isinstance(end, CallStopped) for end in ends)


@pytest.mark.parametrize("seed", range(40))
async def test_at_random_no_row_hangs_none_is_wrong_and_no_two_ask_at_once(seed: int) -> None:
    rng = Random(seed)
    fates: list[Any] = [1.0, 3.0, 0.0, failed(), failed("timeout"), 1e5]
    bench = Bench(
        *(rng.choice(fates) for _ in range(60)), memory=Memory(takes_s=rng.choice([0.0, 0.5]))
    )
    asked = [rng.choice(questions(5)) for _ in range(100)]
    given_up = 0

    async def row(one: Request) -> None:
        nonlocal given_up
        await asyncio.sleep(rng.uniform(0, 20))
        try:
            async with asyncio.timeout(rng.choice([0.0, 0.7, 2.0, 50.0])):
                found = await answer(bench.cached, one)
        except (TimeoutError, CallFailed):
            given_up += 1
            return
        assert found.text == answer_to(one).text

    async with asyncio.timeout(10_000), asyncio.TaskGroup() as group:
        for one in asked:
            group.create_task(row(one))
    assert bench.cached._flights == {}
    assert bench.inner.most_in_flight == 1
    assert bench.inner.calls.total() <= 5 + given_up


# --- rows that are asked together


def marks(results: Sequence[Reply | Exception]) -> list[str]:
    """Return of each row where its answer is from."""
    return [
        type(one).__name__
        if isinstance(one, Exception)
        else "cached"
        if one.cached
        else "deduped"
        if one.deduped
        else "asked"
        for one in results
    ]


class Together(Bench):
    """A bench that asks for groups, and takes note of those that are asked below."""

    async def group(self, asked: Sequence[Request]) -> list[Reply | Exception]:
        """Ask for a group; insist that each has its own answer and that nothing is left."""
        async with asyncio.timeout(10_000):
            results = await ends(self.cached, asked)
        assert self.cached._flights == {}
        for one, result in zip(asked, results, strict=True):
            assert isinstance(result, Exception) or result.text == answer_to(one).text
        return results

    def begin(self, asked: Sequence[Request]) -> tuple[asyncio.Task[None], Delivered]:
        """Ask for a group, and return what tells of each row as it is delivered."""
        delivered = Delivered()
        return asyncio.create_task(self.cached.answer_all(delivered.rows(asked))), delivered


LOOK_UPS = [None, 0.0, 1.0]  # seconds; None: not even a turn of the loop


@pytest.mark.parametrize("takes_s", LOOK_UPS)
async def test_a_group_is_one_look_up_and_asks_for_what_is_not_there(takes_s: float | None) -> None:
    asked = questions(6)
    bench = Together(memory=Memory(*asked[::2], takes_s=takes_s))
    assert marks(await bench.group(asked)) == ["cached", "asked"] * 3
    assert bench.memory.look_ups == 1
    assert bench.inner.calls == {key_of(one): 1 for one in asked[1::2]}
    assert bench.memory.stored == {key_of(one): 1 for one in asked[1::2]}
    assert bench.lookups == (3, 3)


@pytest.mark.parametrize("takes_s", LOOK_UPS)
async def test_of_duplicates_in_a_group_one_is_asked(takes_s: float | None) -> None:
    one, other = questions(2)
    bench = Together(memory=Memory(takes_s=takes_s))
    found = marks(await bench.group([one, other, one, one, other]))
    assert found == ["asked", "asked", "deduped", "deduped", "deduped"]
    assert set(bench.inner.calls.values()) == {1}
    assert bench.lookups == (0, 2)


@pytest.mark.parametrize("takes_s", LOOK_UPS)
async def test_of_duplicates_in_a_group_that_are_stored_one_is_looked_up(
    takes_s: float | None,
) -> None:
    one, other = questions(2)
    bench = Together(memory=Memory(one, takes_s=takes_s))
    found = marks(await bench.group([one, one, other, one, other]))
    assert found == ["cached", "cached", "asked", "cached", "deduped"]
    assert bench.memory.looked_up == {key_of(one): 1, key_of(other): 1}


@pytest.mark.parametrize("takes_s", LOOK_UPS)
@pytest.mark.parametrize("latency_s", [0.0, 3.0])
async def test_duplicates_across_groups_share_a_call_whoever_leads(
    takes_s: float | None, latency_s: float
) -> None:
    asked = questions(3)
    bench = Together(memory=Memory(takes_s=takes_s), takes_s=latency_s)
    groups = [asked[:2], asked[1:], [asked[2], asked[0]], asked]
    async with asyncio.timeout(100):
        found = await asyncio.gather(*(ends(bench.cached, group) for group in groups))
    assert bench.cached._flights == {}
    assert set(bench.inner.calls.values()) == {1}
    flat = [mark for results in found for mark in marks(results)]
    assert flat.count("asked") == 3
    for group, results in zip(groups, found, strict=True):
        for one, result in zip(group, results, strict=True):
            assert isinstance(result, Reply)
            assert result.text == answer_to(one).text


async def test_hits_are_delivered_before_the_misses_are_answered() -> None:
    asked = questions(5)
    bench = Together(memory=Memory(asked[1], asked[4], takes_s=1.0), takes_s=60.0)
    running, delivered = bench.begin(asked)
    await asyncio.sleep(1.5)
    assert delivered.order == [1, 4]
    await running
    assert sorted(delivered.order) == list(range(5))


async def test_each_row_of_a_group_is_delivered_as_soon_as_it_is_answered() -> None:
    asked = questions(3)
    bench = Together(5.0, 1.0, 9.0, memory=Memory(takes_s=None))
    running, delivered = bench.begin([*asked, asked[1], asked[0]])
    await asyncio.sleep(2)
    assert delivered.order == [1, 3]
    await asyncio.sleep(4)
    assert delivered.order == [1, 3, 0, 4]
    await running
    assert delivered.order == [1, 3, 0, 4, 2]


@pytest.mark.parametrize("kind", ["server_error", "timeout"])
async def test_where_one_row_of_a_group_fails_the_others_are_answered_and_stored(
    kind: str,
) -> None:
    asked = questions(4)
    bench = Together(1.0, failed(kind), 1.0, 1.0)
    found = marks(await bench.group(asked))
    assert found == ["asked", "CallFailed", "asked", "asked"]
    assert bench.memory.stored == {key_of(one): 1 for one in asked if one is not asked[1]}


async def test_where_the_first_of_duplicates_in_a_group_fails_the_next_asks() -> None:
    one, other = questions(2)
    bench = Together(failed(), 1.0)
    found = marks(await bench.group([one, one, other, one]))
    assert sorted(found) == ["CallFailed", "asked", "asked", "deduped"]
    assert found[0] == "CallFailed"
    assert bench.inner.calls == {key_of(one): 2, key_of(other): 1}


async def test_where_a_row_of_a_group_fails_those_who_wait_in_another_ask() -> None:
    one, other = questions(2)
    bench = Together(failed(), 5.0)
    first, of_first = bench.begin([one, other])
    second, of_second = bench.begin([one])
    await asyncio.gather(first, second)
    assert marks([of_first.by_position[n] for n in (0, 1)]) == ["CallFailed", "asked"]
    assert marks([of_second.by_position[0]]) == ["asked"]
    assert bench.cached._flights == {}


async def test_a_group_that_is_given_up_hands_all_its_rows_over() -> None:
    asked = questions(3)
    bench = Together(1e6, 1e6, 1e6)
    first, of_first = bench.begin(asked)
    second, of_second = bench.begin([*asked, asked[0]])
    await asyncio.sleep(5)
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert of_first.order == []
    results = [of_second.by_position[position] for position in range(4)]
    assert sorted(marks(results)) == ["asked", "asked", "asked", "deduped"]
    assert bench.cached._flights == {}


async def test_a_group_that_only_waits_and_is_given_up_disturbs_nobody() -> None:
    asked = questions(3)
    bench = Together(takes_s=10.0)
    first, of_first = bench.begin(asked)
    second, of_second = bench.begin(asked)
    await asyncio.sleep(5)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert (sorted(of_first.order), of_second.order) == ([0, 1, 2], [])
    assert set(bench.inner.calls.values()) == {1}


@pytest.mark.parametrize("takes_s", LOOK_UPS)
async def test_what_stops_the_job_reaches_who_waits_in_another_group_without_another_call(
    takes_s: float | None,
) -> None:
    one, other = questions(2)
    refused = ProviderRefused("no")
    bench = Together(refused, 60.0, memory=Memory(takes_s=takes_s))
    groups = [ends(bench.cached, group) for group in ([one, other], [other], [one, one])]
    async with asyncio.timeout(30):
        found = await asyncio.gather(*groups, return_exceptions=True)
    assert found == [refused] * 3
    assert bench.inner.calls.total() == 2
    assert bench.cached._flights == {}


async def test_rows_that_were_delivered_before_what_stops_the_job_stay_so() -> None:
    asked = questions(3)
    bench = Together(1.0, ProviderRefused("no"), 1e6, memory=Memory(asked[2]))
    running, delivered = bench.begin([*asked, request("another")])
    with pytest.raises(BaseExceptionGroup):
        await running
    assert delivered.order == [2, 0]
    assert bench.memory.stored == {key_of(asked[0]): 1}


class Ending:
    """Delivers the first row of a group, and ends as it is told."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        await asyncio.sleep(1.0)
        rows[0].deliver(answer_to(rows[0].request))
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, ValueError("a fault of ours")])
async def test_rows_that_the_layer_below_has_not_delivered_keep_nobody_waiting(
    error: Exception | None,
) -> None:
    asked = questions(3)
    cached = CacheLayer(Ending(error), Memory(), Stats())
    first = asyncio.create_task(cached.answer_all(Delivered().rows(asked)))
    later = Delivered()
    second = asyncio.create_task(cached.answer_all(later.rows(asked)))
    async with asyncio.timeout(100):
        await asyncio.gather(first, second, return_exceptions=True)
    assert sorted(later.order) == [0, 1, 2], "each asks for itself"
    assert cached._flights == {}


async def test_a_request_that_has_no_key_fails_alone_and_leaves_nobody_waiting() -> None:
    keyless = request(extra={"x": object()})
    bench = Together()
    assert marks(await bench.group([request(), keyless])) == ["asked", "TypeError"]
    assert marks(await bench.group([keyless, keyless])) == ["TypeError"] * 2
    assert marks(await bench.group([request()])) == ["cached"]


@pytest.mark.parametrize("seed", range(40))
async def test_groups_at_random_deliver_each_row_once_with_its_own_answer(seed: int) -> None:
    rng = Random(seed)
    fates: list[Any] = [1.0, 3.0, 0.0, failed(), failed("timeout"), CallStopped(), 1e5]
    stored = rng.sample(questions(8), rng.randint(0, 4))
    bench = Together(
        *(rng.choice(fates) for _ in range(80)),
        memory=Memory(*stored, takes_s=rng.choice(LOOK_UPS)),
    )
    not_answered = 0

    async def group(asked: list[Request]) -> None:
        nonlocal not_answered
        await asyncio.sleep(rng.choice([0.0, rng.uniform(0, 20)]))
        delivered = Delivered()
        try:
            async with asyncio.timeout(rng.choice([0.0, 0.7, 2.0, 50.0, 1e6])):
                await bench.cached.answer_all(delivered.rows(asked))
        except TimeoutError:
            not_answered += len(asked)
        else:
            assert sorted(delivered.order) == list(range(len(asked)))
        for position, result in delivered.by_position.items():
            if isinstance(result, Exception):
                not_answered += 1
            else:
                assert result.text == answer_to(asked[position]).text

    async with asyncio.timeout(1e7), asyncio.TaskGroup() as groups:
        for _ in range(30):
            asked = [rng.choice(questions(8)) for _ in range(rng.randint(1, 10))]
            groups.create_task(group(asked))
    assert bench.cached._flights == {}
    assert bench.inner.most_in_flight <= 1
    assert bench.inner.calls.total() <= 8 + not_answered


# --- modes


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize(
    ("mode", "looks_up", "stores"),
    [("on", True, True), ("read", True, False), ("write", False, True), ("refresh", False, True)],
)
async def test_each_mode_looks_up_and_stores_what_it_says(
    mode: CacheMode, looks_up: bool, stores: bool, is_stored: bool
) -> None:
    asked = request()
    bench = Bench(memory=Memory(asked) if is_stored else Memory(), mode=mode)
    found = await answer(bench.cached, asked)
    is_hit = looks_up and is_stored
    assert found.cached == is_hit
    assert bench.inner.calls.total() == (not is_hit)
    assert bench.memory.looked_up.total() == looks_up
    assert bench.memory.stored.total() == (stores and not is_hit)
    assert bench.lookups == (int(is_hit), int(looks_up and not is_hit))


@pytest.mark.parametrize("mode", MODES)
async def test_identical_requests_in_flight_share_a_call_in_every_mode(mode: CacheMode) -> None:
    bench = Bench(mode=mode)
    assert len(answered(await bench.ends(bench.start(request())))) == ROWS
    assert bench.inner.calls.total() == 1


async def test_what_was_answered_is_a_hit_for_the_next_row() -> None:
    bench = Bench()
    first = await answer(bench.cached, request())
    second = await answer(bench.cached, request())
    assert (first.cached, second.cached) == (False, True)
    assert bench.inner.calls.total() == 1
    assert bench.lookups == (1, 1)


async def test_refreshing_asks_anew_and_stores_the_new_answer() -> None:
    bench = Bench(reply("new"), memory=Memory(request()), mode="refresh")
    assert (await answer(bench.cached, request())).text == "new"
    assert bench.memory.entries[key_of(request())].reply.text == "new"


# --- what a hit says, and what is stored


async def test_a_hit_is_the_whole_answer_marked_as_not_paid_for_now() -> None:
    whole = reply(
        "hi", usage=Usage(10, 2, 3, 4, 1), cost_usd=0.25, endpoint="e", attempts=3, latency_s=1.5
    )
    bench = Bench(whole)
    assert await answer(bench.cached, request()) == whole
    hit = await answer(bench.cached, request())
    assert hit == replace(whole, cached=True, attempts=0)


async def test_an_entry_says_when_it_was_paid_for_and_what_was_asked() -> None:
    bench = Bench()
    before = time.time()
    await answer(bench.cached, request())
    (entry,) = bench.memory.entries.values()
    assert before <= entry.created <= time.time()
    assert entry.fingerprint == fingerprint(request())
    assert entry.reply == answer_to(request())
    assert not entry.reply.cached


TOOL_CALLS = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("comes", "is_stored"),
    [
        pytest.param(reply("hi"), True, id="whole"),
        pytest.param(
            reply(None, tool_calls=TOOL_CALLS, finish_reason="tool_calls"), True, id="tool"
        ),
        pytest.param(reply("", tool_calls=TOOL_CALLS), True, id="tool and no text"),
        pytest.param(reply("hi", finish_reason="length"), False, id="truncated"),
        pytest.param(
            reply(None, tool_calls=TOOL_CALLS, finish_reason="length"), False, id="tool, truncated"
        ),
        pytest.param(reply("hi", finish_reason="content_filter"), False, id="filtered"),
        pytest.param(reply(""), False, id="empty"),
        pytest.param(reply(None), False, id="null"),
        pytest.param(reply(None, tool_calls=[]), False, id="no calls"),
    ],
)
@pytest.mark.parametrize("mode", ["on", "write", "refresh"])
async def test_only_whole_answers_are_stored(
    comes: Reply, is_stored: bool, mode: CacheMode
) -> None:
    bench = Bench(comes, mode=mode)
    assert await answer(bench.cached, request()) == comes
    assert bench.memory.stored.total() == is_stored == is_storable(comes)


@pytest.mark.parametrize(
    "kind", ["server_error", "content_filter", "bad_response", "schema_mismatch", "timeout"]
)
async def test_a_failure_is_not_stored_even_where_an_answer_was_paid_for(kind: Any) -> None:
    failure = Failure(kind=kind, message="as scripted", reply=reply("withheld"))
    bench = Bench(CallFailed(failure, 2))
    with pytest.raises(CallFailed):
        await answer(bench.cached, request())
    assert bench.memory.stored.total() == 0
    assert not (await answer(bench.cached, request())).cached


async def test_an_answer_that_does_not_fit_its_schema_is_not_stored() -> None:
    schema = {"type": "object", "required": ["x"]}
    response_format = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    asked = request(response_format=response_format)
    fits = reply(orjson.dumps({"x": 1}).decode())
    memory, inner = Memory(), Scripted(reply("{}"), reply("no JSON"), fits)
    cached = CacheLayer(SchemaLayer(inner), memory, Stats())
    for _ in range(2):
        with pytest.raises(CallFailed) as caught:
            await answer(cached, asked)
        assert caught.value.failure.kind == "schema_mismatch"
        assert memory.stored.total() == 0
    assert await answer(cached, asked) == fits
    assert (await answer(cached, asked)).cached


async def test_look_ups_are_counted_by_model() -> None:
    bench = Bench(memory=Memory(request(model="sim/a")))
    for model in ("sim/a", "sim/a", "sim/b"):
        await answer(bench.cached, request(model=model))
    counted = bench.stats.lookups_by_model()
    assert {model: (one.hits, one.misses) for model, one in counted.items()} == {
        "sim/a": (2, 0),
        "sim/b": (0, 1),
    }


async def test_a_row_that_another_paid_for_costs_nothing_and_is_counted_as_a_saving() -> None:
    asked = request()
    bench = Bench(reply(usage=Usage(10, 2), cost_usd=0.25))
    replies = [end for end in await bench.ends(bench.start(asked, 3)) if isinstance(end, Reply)]
    replies.append(await answer(bench.cached, asked))
    outcomes = [
        Outcome(row=Row(index=index, request=asked), reply=one, attempts=one.attempts)
        for index, one in enumerate(replies)
    ]
    lines = [line_of(outcome) for outcome in outcomes]
    assert [line["cost_usd"] for line in lines] == [0.25, 0.0, 0.0, 0.0]
    assert [line["cached"] for line in lines] == [False, False, False, True]
    assert [line["attempts"] for line in lines] == [1, 0, 0, 0]
    for outcome in outcomes:
        bench.stats.add_outcome(outcome)
    counted = bench.stats.rows()
    assert (counted.cached, counted.deduped) == (1, 2)
    assert (counted.saved_tokens, counted.saved_usd) == (3 * 12, 3 * 0.25)
