"""Every row is handed out once, to a worker that need not wait, however few fit at a time."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.stats import Stats
from llmscale.config import UserLimit
from llmscale.core.errors import CallStopped, ProviderRefused, StorageError
from llmscale.core.records import Outcome, Reply, Request, Row, Usage
from llmscale.engine.feed.input_passes import IsDone
from llmscale.engine.feed.user_feed import UserFeed
from llmscale.engine.outcome_writer import OutcomeWriter
from llmscale.engine.pipeline import Intake, Pipeline
from tests.engine.answering import RowByRow
from tests.engine.feed import (
    Input,
    Workers,
    answered,
    cached,
    limits_of,
    row_of,
    rows_of_users,
    take_one,
)
from tests.virtual_time import Inline, most_in_a_minute, now_s, virtually


@pytest.fixture(autouse=True)
async def inline() -> None:
    asyncio.get_running_loop().set_default_executor(Inline())


def feed_of(
    rows: list[Row], limit: UserLimit | None = None, max_rows: int = 10_000, **named: UserLimit
) -> UserFeed:
    return UserFeed(Input(rows).read, limits_of(limit, **named), len(rows), max_rows)


@pytest.mark.looptime
async def test_rows_of_a_waiting_user_take_no_place_among_those_in_flight() -> None:
    rows = rows_of_users(["greedy"] * 50 + ["b"] * 20)
    workers = Workers(feed_of(rows, greedy=UserLimit(rpm=1)))
    assert await workers.run(2) == pytest.approx(49 * 60 + 1, rel=0.01)
    assert max(workers.times_s("b")) <= 11, "20 rows of a second each, two at a time"
    assert sorted(workers.order) == list(range(70))


@pytest.mark.looptime
async def test_a_user_is_found_behind_any_number_of_rows_of_a_greedy_one() -> None:
    rows = rows_of_users(["greedy"] * 5_000 + ["b"] * 3)
    feed = feed_of(rows, UserLimit(rpm=60), max_rows=100)
    workers = Workers(feed)
    running = asyncio.create_task(workers.run(4))
    await asyncio.sleep(5)
    assert workers.times_s("b") == pytest.approx([0, 1, 2], abs=0.1)
    running.cancel()


@pytest.mark.looptime
async def test_rows_without_a_user_never_wait() -> None:
    rows = rows_of_users(["a"] * 3 + [None] * 20)
    workers = Workers(feed_of(rows, UserLimit(rpm=1)))
    await workers.run(4)
    assert max(workers.times_s(None)) <= 6


@pytest.mark.looptime
async def test_rows_that_are_answered_from_the_cache_wait_for_no_limit() -> None:
    rows = rows_of_users(["a"] * 1_000)
    workers = Workers(feed_of(rows, UserLimit(rpm=1, tpm=400)), end=cached, latency_s=0.0)
    assert await workers.run(64) == 0
    assert sorted(workers.order) == list(range(1_000))


@pytest.mark.looptime
async def test_a_row_above_its_users_minute_fails_with_both_figures_and_holds_up_nobody() -> None:
    rows = [row_of("a", 0, "x" * 4_000), row_of("a", 1), row_of("b", 2, "x" * 4_000)]
    workers = Workers(feed_of(rows, UserLimit(tpm=500), b=UserLimit(tpm=5_000)))
    assert await workers.run(1) <= 3
    failures = {row.index: row.failure for _, row in workers.taken if row.failure}
    assert failures.keys() == {0}
    assert failures[0].kind == "invalid_request"
    assert failures[0].message == "needs about 1014 tokens, and its user's limit is 500 a minute"


@given(
    users=st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=300),
    max_rows=st.integers(1, 40),
    block_rows=st.integers(1, 50),
    rpm=st.sampled_from([30, 600, 60_000]),
    done=st.sets(st.integers(0, 299)),
    again=st.booleans(),
    together=st.integers(1, 5),
)
def test_every_row_that_is_not_done_is_handed_out_once(
    users: list[str | None],
    max_rows: int,
    block_rows: int,
    rpm: int,
    done: set[int],
    again: bool,
    together: int,
) -> None:
    file = Input(rows_of_users(users), block_rows)

    def read(is_done: IsDone | None) -> Iterator[list[Row]]:
        return file.read(lambda index: index in done or bool(is_done and is_done(index)))

    async def play() -> None:
        limits = limits_of(UserLimit(rpm=rpm))
        feed = UserFeed(read, limits, len(users) if again else None, max_rows)
        workers = Workers(feed, together=together)
        await workers.run(3)
        assert sorted(workers.order) == sorted(set(range(len(users))) - done)

    virtually(play)


@given(st.lists(st.sampled_from("abc"), max_size=100), st.integers(1, 5))
def test_rows_of_a_user_that_all_fit_go_in_the_order_of_the_input(
    users: list[str], together: int
) -> None:
    async def play() -> None:
        workers = Workers(feed_of(rows_of_users(users), UserLimit(rpm=600)), together=together)
        await workers.run(3)
        for user in "abc":
            own = [row.index for _, row in workers.taken if row.user == user]
            assert own == sorted(own)

    virtually(play)


@pytest.mark.looptime
async def test_input_that_can_be_read_once_waits_for_room_and_loses_nothing() -> None:
    file = Input(rows_of_users(["greedy"] * 200 + ["b"] * 5), block_rows=10)
    feed = UserFeed(file.read, limits_of(greedy=UserLimit(rpm=60)), None, 100)
    workers = Workers(feed)
    running = asyncio.create_task(workers.run(4))
    await asyncio.sleep(90)
    assert not workers.times_s("b"), "behind more rows than there is room for"
    assert file.parsed <= 90 + 100 + 20
    await asyncio.sleep(20)
    assert len(workers.times_s("b")) == 5
    await running
    assert (file.passes, file.parsed) == (1, 205)


@pytest.mark.looptime
async def test_a_user_whom_no_limit_holds_up_has_each_row_parsed_twice_at_most() -> None:
    file = Input(rows_of_users(["a"] * 20_000))
    workers = Workers(UserFeed(file.read, limits_of(UserLimit(rpm=6e6)), 20_000, 1_000))
    await workers.run(50)
    assert sorted(workers.order) == list(range(20_000))
    assert file.parsed <= 40_000
    assert file.passes <= 4


@pytest.mark.looptime
async def test_who_runs_low_is_looked_for_though_others_could_go_on_for_long() -> None:
    rows = rows_of_users(["greedy"] * 9_000 + ["b"] * 1_000)
    workers = Workers(feed_of(rows, UserLimit(rpm=6e6), max_rows=1_000))
    await workers.run(10)
    assert max(workers.times_s("b")) == pytest.approx(200, rel=0.1), "every other turn"


async def wait_until_idle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.looptime
async def test_a_stop_ends_the_wait_at_once() -> None:
    feed = feed_of(rows_of_users(["a"] * 100), UserLimit(rpm=1))
    workers = Workers(feed, latency_s=0.0)
    running = asyncio.create_task(workers.run(500))
    await asyncio.sleep(30)
    began_s = now_s()
    feed.stop()
    await running
    assert now_s() == began_s
    assert len(workers.taken) == 1
    assert await feed.take(10) == ()


@pytest.mark.looptime
async def test_who_waits_and_is_cancelled_takes_no_row_with_it() -> None:
    feed = feed_of(rows_of_users(["a"] * 2), UserLimit(rpm=1))
    assert await take_one(feed) is not None
    waiting = asyncio.create_task(take_one(feed))
    await asyncio.sleep(10)
    waiting.cancel()
    row = await take_one(feed)
    assert row is not None
    assert row.index == 1


@pytest.mark.looptime
async def test_no_input_and_empty_blocks_end_at_once() -> None:
    assert await take_one(feed_of([])) is None
    feed = UserFeed(lambda _: iter([[], [row_of("a")], []]), limits_of(), 1)
    assert await take_one(feed) is not None
    assert await take_one(feed) is None


@pytest.mark.looptime
async def test_an_input_that_can_not_be_read_is_said_after_what_was_read() -> None:
    def read(is_done: IsDone | None) -> Iterator[list[Row]]:
        del is_done
        yield [row_of("a", 0)]
        raise StorageError("can't read in.jsonl")

    feed = UserFeed(read, limits_of(UserLimit(rpm=60)), 2)
    assert await take_one(feed) is not None
    with pytest.raises(StorageError):
        await take_one(feed)


async def test_reading_does_not_block_the_loop() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    go_on = threading.Event()

    def read(is_done: IsDone | None) -> Iterator[list[Row]]:
        del is_done
        assert go_on.wait(timeout=10)
        yield [row_of("a")]

    feed = UserFeed(read, limits_of(UserLimit(rpm=60)), 1)
    taken = asyncio.create_task(take_one(feed))
    await wait_until_idle()
    assert not taken.done()
    go_on.set()
    assert await taken == row_of("a")
    assert await take_one(feed) is None


class Asked(RowByRow):
    """An `Answers` that takes a second, or raises what it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def answer(self, request: Request) -> Reply:
        await asyncio.sleep(1.0)
        if self._error is not None:
            raise self._error
        return Reply(text="x", finish_reason="stop", model=request.model, usage=Usage(20, 5))


class Sink:
    """An `OutcomeSink` in memory."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def take_up(self, rows: int) -> None: ...

    def put(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes

    def put_back(self) -> None: ...


async def piped(feed: UserFeed, width: int, asked: Asked) -> tuple[Sink, Stats]:
    sink, stats = Sink(), Stats()
    await Pipeline(feed, asked, sink, OutcomeWriter(sink, stats), Intake(width)).run()
    return sink, stats


@pytest.mark.looptime
async def test_a_row_that_is_refused_by_the_feed_is_an_outcome_that_was_never_asked() -> None:
    feed = feed_of([row_of("a", 0, "x" * 4_000), row_of("a", 1)], UserLimit(tpm=500))
    sink, stats = await piped(feed, 2, Asked())
    refused, done = sorted(sink.outcomes, key=lambda outcome: outcome.row.index)
    assert (refused.reply, refused.attempts, done.failure) == (None, 0, None)
    assert refused.failure is not None
    assert stats.rows_by_model()["sim/a"].failures == {"invalid_request": 1}


@pytest.mark.looptime
@pytest.mark.parametrize("error", [CallStopped(), ProviderRefused("no key")])
async def test_a_pipeline_ends_though_its_users_would_have_to_wait(error: Exception) -> None:
    feed = feed_of(rows_of_users("ab" * 20), UserLimit(rpm=1))
    pipeline = Pipeline(feed, Asked(error), sink := Sink(), OutcomeWriter(sink, Stats()), Intake(8))
    asyncio.get_running_loop().call_later(5, pipeline.stop)
    began_s = now_s()
    if isinstance(error, ProviderRefused):
        with pytest.raises(ProviderRefused):
            await pipeline.run()
    else:
        await pipeline.run()
    assert now_s() - began_s <= 5
    assert sink.outcomes == []


@pytest.mark.looptime
async def test_reported_tokens_let_a_user_go_sooner_than_the_estimate() -> None:
    rows = [row_of("a", index, "x" * 40, max_tokens=400) for index in range(6)]
    limit = UserLimit(tpm=1_000)
    small = Workers(feed_of(rows, limit), end=lambda row: answered(row, Usage(15, 5)))
    large = Workers(feed_of(rows, limit), end=lambda row: answered(row, Usage(400, 400)))
    assert await small.run(6) < await large.run(6)


@pytest.mark.looptime
async def test_where_rows_are_here_their_users_are_waited_for_and_else_the_input() -> None:
    feed = feed_of(rows_of_users(["a"] * 3), UserLimit(rpm=1))
    assert feed.waits_for == "reading"
    assert await take_one(feed) is not None
    waiting = asyncio.create_task(take_one(feed))
    await asyncio.sleep(1)
    assert not waiting.done()
    assert held_up_by(feed) == "users"
    waiting.cancel()


def held_up_by(feed: UserFeed) -> str:
    return feed.waits_for


async def test_the_end_is_known_when_the_last_row_is_taken_and_not_before() -> None:
    feed = feed_of(rows_of_users(["a", "b"]), UserLimit(rpm=60))
    assert not ended(feed)
    await take_one(feed)
    assert not ended(feed)
    await take_one(feed)
    await asyncio.sleep(0.01)
    assert ended(feed)
    assert await take_one(feed) is None


def ended(feed: UserFeed) -> bool:
    return feed.has_ended


# --- some rows at a time


@pytest.mark.looptime
async def test_rows_that_may_go_are_taken_together_in_turn_and_no_more_than_are_wanted() -> None:
    feed = feed_of(rows_of_users([*"aaabbc", None]), UserLimit(rpm=60_000))
    taken = [[row.index for row in await feed.take(most)] for most in (4, 1, 100, 100)]
    assert taken == [[0, 3, 5, 6], [1], [4, 2], []]


@pytest.mark.looptime
async def test_a_row_that_may_go_does_not_wait_for_more() -> None:
    feed = feed_of(rows_of_users(["a", "b", "a", "b"]), UserLimit(rpm=1))
    assert [row.index for row in await feed.take(10)] == [0, 1]
    assert now_s() == 0
    assert [row.index for row in await feed.take(10)] == [2, 3]
    assert now_s() == pytest.approx(60, abs=0.1)


@pytest.mark.looptime
async def test_no_more_rows_of_a_user_are_taken_together_than_its_limit_allows() -> None:
    feed = feed_of(rows_of_users(["a"] * 50 + ["b"] * 3), a=UserLimit(rpm=60, burst=4))
    rows = await feed.take(30)
    assert [row.user for row in rows].count("a") == 4
    assert [row.user for row in rows].count("b") == 3


@pytest.mark.looptime
@pytest.mark.parametrize("together", [1, 7, 50])
async def test_how_many_are_taken_together_changes_nothing_about_a_users_pace(
    together: int,
) -> None:
    workers = Workers(feed_of(rows_of_users(["a"] * 100), UserLimit(rpm=60)), together=together)
    await workers.run(50)
    grants = [(at_s, 1.0) for at_s in workers.times_s("a")]
    assert most_in_a_minute(grants) <= 61
    assert grants[-1][0] == pytest.approx(99, rel=0.01)


@pytest.mark.looptime
async def test_as_many_rows_are_taken_together_as_would_be_one_by_one() -> None:
    """The tokens of the one are counted before the next is looked at."""
    rows = [row_of("a", index, "x" * 40, max_tokens=40) for index in range(40)]
    limit = UserLimit(rpm=600, tpm=1_000, burst=150)
    together, one_by_one = feed_of(rows, limit), feed_of(rows, limit)
    taken = await together.take(40)
    assert 1 < len(taken) < 40
    for row in taken:
        assert await take_one(one_by_one) == row
    next_row = asyncio.create_task(take_one(one_by_one))
    await wait_until_idle()
    assert not next_row.done()
    next_row.cancel()


@pytest.mark.looptime
async def test_what_was_read_before_an_error_is_handed_out_however_many_are_wanted() -> None:
    def read(is_done: IsDone | None) -> Iterator[list[Row]]:
        del is_done
        yield rows_of_users(["a", "b"])
        raise StorageError("can't read in.jsonl")

    feed = UserFeed(read, limits_of(UserLimit(rpm=60)), 3)
    assert [row.index for row in await feed.take(10)] == [0, 1]
    with pytest.raises(StorageError):
        await feed.take(10)


@pytest.mark.looptime
async def test_a_stop_while_many_are_wanted_ends_the_wait_with_none() -> None:
    feed = feed_of(rows_of_users(["a"] * 9), UserLimit(rpm=1))
    assert len(await feed.take(5)) == 1
    asyncio.get_running_loop().call_later(10, feed.stop)
    assert await feed.take(5) == ()
    assert now_s() == 10
