"""At most `width` rows in flight, read one block ahead and no further, each put away for good.

Rows are asked some at a time, and each goes its own way from then on.
Rows that wait for a slow store hold none of the others up, until there are too many of them.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.stats import Stats
from llmscale.core.asked_row import AskedRow
from llmscale.core.errors import (
    CallFailed,
    CallStopped,
    ConfigError,
    JobError,
    ProviderRefused,
    StorageError,
)
from llmscale.core.protocols import Answers
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.engine.feed.ordered_feed import OrderedFeed
from llmscale.engine.layers.batcher import Batcher
from llmscale.engine.layers.batches import BatchCaps
from llmscale.engine.outcome_writer import MAX_UNSTORED, OutcomeWriter, WhenSafe
from llmscale.engine.pipeline import DRAIN_S, Intake, Pipeline
from tests.engine.answering import RowByRow
from tests.virtual_time import Inline, now_s, virtually


@pytest.fixture(autouse=True)
async def inline() -> None:
    asyncio.get_running_loop().set_default_executor(Inline())


class Asked(RowByRow):
    """An `Answers` that takes a second, or what it is told, and counts who is in flight."""

    def __init__(self, does: Callable[[int], float | BaseException] = lambda _: 1.0) -> None:
        self._does = does
        self.asked: list[int] = []
        self.groups: list[list[int]] = []  # rows that were asked together
        self.in_flight = 0
        self.most_in_flight = 0

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        self.groups.append([index_of(row.request) for row in rows])
        await super().answer_all(rows)

    async def answer(self, request: Request) -> Reply:
        index = index_of(request)
        self.asked.append(index)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            does = self._does(index)
            await asyncio.sleep(does if isinstance(does, float) else 1.0)
            if isinstance(does, BaseException):
                raise does
        finally:
            self.in_flight -= 1
        return Reply(
            text=str(index), finish_reason="stop", model="m", usage=Usage(1, 1), attempts=2
        )


class Sink:
    """An `OutcomeSink` in memory, with room for so many outcomes."""

    def __init__(self, room: int = 10**9) -> None:
        self.outcomes: list[Outcome] = []
        self.writes: list[int] = []  # outcomes in each
        self._room = room
        self.taken_up = 0
        self.put_backs = 0

    def take_up(self, rows: int) -> None:
        self.taken_up += rows

    def put(self, outcomes: Sequence[Outcome]) -> None:
        if len(self.outcomes) + len(outcomes) > self._room:
            raise StorageError("disk full")
        self.writes.append(len(outcomes))
        self.outcomes += outcomes

    def put_back(self) -> None:
        self.put_backs += 1

    @property
    def order(self) -> list[int]:
        return [outcome.row.index for outcome in self.outcomes]

    @property
    def by_index(self) -> dict[int, Outcome]:
        return {outcome.row.index: outcome for outcome in self.outcomes}


def row(index: int) -> Row:
    messages = [{"role": "user", "content": str(index)}]
    return Row(index=index, request=Request(model="sim/a", messages=messages))


def index_of(request: Request) -> int:
    return int(request.messages[0]["content"])


def blocks_of(rows: int, size: int = 10) -> list[list[Row]]:
    return [[row(i) for i in range(at, min(at + size, rows))] for at in range(0, rows, size)]


class Case:
    """A pipeline with all that is around it."""

    def __init__(
        self,
        blocks: Iterable[list[Row]],
        does: Callable[[int], float | BaseException] = lambda _: 1.0,
        width: int = 4,
        *,
        room: int = 10**9,
        when_safe: WhenSafe | None = None,
        max_unstored: int = MAX_UNSTORED,
        together: int = 1,
        answers: Answers | None = None,
    ) -> None:
        self.asked = Asked(does)
        self.sink = Sink(room)
        self.stats = Stats()
        self.writer = OutcomeWriter(self.sink, self.stats, when_safe, max_unstored)
        feed = OrderedFeed(iter(blocks))
        answers = answers or self.asked
        self.pipeline = Pipeline(feed, answers, self.sink, self.writer, Intake(width, together))

    async def run(self) -> float:
        """Run to the end and return how long it took."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await self.pipeline.run()
        return loop.time() - began_s


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("rows", "width", "time_s"), [(20, 4, 5), (20, 20, 1), (3, 50, 1), (7, 1, 7)]
)
async def test_as_many_rows_as_the_width_are_in_flight_and_never_more(
    rows: int, width: int, time_s: float
) -> None:
    case = Case(blocks_of(rows), width=width)
    assert await case.run() == time_s
    assert case.asked.most_in_flight == min(rows, width)
    assert sorted(case.sink.order) == list(range(rows))


@pytest.mark.looptime
async def test_an_outcome_has_its_row_its_reply_its_attempts_and_its_time() -> None:
    case = Case(blocks_of(2), lambda index: 1.0 + index)
    await case.run()
    for index, outcome in case.sink.by_index.items():
        assert outcome.row == row(index)
        assert outcome.reply is not None
        assert outcome.reply.text == str(index)
        assert (outcome.failure, outcome.attempts, outcome.latency_s) == (None, 2, 1.0 + index)


@pytest.mark.looptime
async def test_outcomes_come_in_the_order_of_completion() -> None:
    delays = [3.0, 1.0, 2.0, 0.5]
    case = Case(blocks_of(4), lambda index: delays[index])
    await case.run()
    assert case.sink.order == [3, 1, 2, 0]


@pytest.mark.looptime
async def test_a_slow_first_row_holds_nobody_up() -> None:
    case = Case(blocks_of(301), lambda index: 60.0 if index == 0 else 1.0, width=11)
    assert await case.run() == 60.0
    assert sorted(case.sink.order[:-1]) == list(range(1, 301))
    assert case.sink.order[-1] == 0
    assert case.sink.outcomes[0].latency_s == 1.0


async def test_ten_thousand_rows_drain() -> None:
    case = Case(blocks_of(10_000, 500), lambda _: 0.0, width=64)
    await case.run()
    assert sorted(case.sink.order) == list(range(10_000))
    assert case.sink.taken_up == case.stats.done == case.stats.rows().answered == 10_000
    assert case.asked.most_in_flight == 64


@pytest.mark.looptime
@pytest.mark.parametrize("blocks", [[], [[]], [[], [row(0)], [], [], [row(1)], []]])
async def test_blocks_may_be_empty(blocks: list[list[Row]]) -> None:
    case = Case(blocks)
    await case.run()
    assert case.sink.order == [row.index for block in blocks for row in block]


@pytest.mark.looptime
async def test_the_input_is_read_one_block_ahead_of_the_work_and_no_further() -> None:
    read: list[int] = []

    def blocks() -> Iterator[list[Row]]:
        for number, block in enumerate(blocks_of(100)):
            read.append(number)
            yield block

    case = Case(blocks(), width=4)
    running = asyncio.create_task(case.run())
    for _ in range(200):
        await asyncio.sleep(0.1)
        begun = len(case.asked.asked) // 10  # blocks of which every row is taken up
        assert len(read) <= begun + 2
    await asyncio.sleep(10)
    await running
    assert read == list(range(10))


async def test_reading_does_not_block_the_loop() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    go_on = threading.Event()

    def blocks() -> Iterator[list[Row]]:
        assert go_on.wait(timeout=10)
        yield [row(0)]

    case = Case(blocks(), lambda _: 0.0)
    running = asyncio.create_task(case.run())
    for _ in range(10):
        await asyncio.sleep(0.001)
    assert not running.done()
    go_on.set()
    await running
    assert case.sink.order == [0]


FAILURE = Failure(kind="timeout", message="late", retryable=True)


@pytest.mark.looptime
async def test_a_failed_row_is_put_away_like_any_other_and_never_raised() -> None:
    case = Case(blocks_of(20), lambda i: CallFailed(FAILURE, attempts=5) if i % 2 else 1.0)
    await case.run()
    assert sorted(case.sink.order) == list(range(20))
    for index, outcome in case.sink.by_index.items():
        assert outcome.failure == (FAILURE if index % 2 else None)
        assert outcome.attempts == (5 if index % 2 else 2)
    assert (case.stats.rows().answered, case.stats.rows().failed) == (10, 10)


@pytest.mark.looptime
async def test_a_bad_row_is_put_away_without_being_asked() -> None:
    failure = Failure(kind="bad_row", message="in.jsonl line 2: not JSON")
    case = Case([[row(0), Row(index=1, failure=failure), row(2)]])
    await case.run()
    assert case.asked.asked == [0, 2]
    assert case.sink.by_index[1].failure == failure
    assert case.sink.by_index[1].attempts == 0
    assert case.sink.taken_up == 3


@pytest.mark.looptime
@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret text of a row"),
        KeyError("x"),
        TimeoutError(),
        RecursionError(),
        OSError(),
    ],
)
async def test_what_a_layer_should_not_raise_becomes_a_failure_of_the_row(
    error: Exception,
) -> None:
    case = Case(blocks_of(3), lambda index: error if index == 1 else 1.0)
    await case.run()
    failure = case.sink.by_index[1].failure
    assert failure is not None
    assert (failure.kind, failure.retryable) == ("internal", True)
    assert type(error).__name__ in failure.message
    assert "secret" not in failure.message
    assert (case.stats.rows().answered, case.stats.rows().failures["internal"]) == (2, 1)


REFUSED = ProviderRefused("openai refuses the job: HTTP 401")


@pytest.mark.looptime
@pytest.mark.parametrize("error", [REFUSED, ConfigError("no key"), StorageError("disk full")])
async def test_after_an_error_of_the_job_only_calls_in_flight_are_answered(error: JobError) -> None:
    case = Case(blocks_of(100), lambda i: error if i == 9 else 1.0 if i < 8 else 2.0, width=4)
    with pytest.raises(type(error)) as caught:
        await case.run()
    assert caught.value is error
    assert sorted(case.sink.order) == [*range(9), 10, 11]
    assert sorted(case.asked.asked) == list(range(12))
    assert case.sink.put_backs == int(error is REFUSED), "a refused call is not paid"
    assert case.asked.in_flight == 0
    assert case.sink.taken_up == 12
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.looptime
async def test_after_an_error_of_the_job_calls_in_flight_are_not_waited_for_long() -> None:
    case = Case(blocks_of(2), lambda index: 60.0 if index else REFUSED, width=2)
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(ProviderRefused):
        await case.run()
    assert asyncio.get_running_loop().time() - began_s == 1 + DRAIN_S  # the refusal takes a second
    assert (case.sink.order, case.sink.put_backs) == ([], 1)


@pytest.mark.looptime
async def test_of_many_errors_of_the_job_one_is_raised() -> None:
    case = Case(blocks_of(100), lambda _: REFUSED, width=8)
    with pytest.raises(ProviderRefused):
        await case.run()
    assert case.sink.outcomes == []


@pytest.mark.looptime
async def test_a_sink_that_can_not_write_stops_the_job() -> None:
    case = Case(blocks_of(100), width=2, room=5)
    with pytest.raises(StorageError, match="disk full"):
        await case.run()
    assert case.sink.order == list(range(4))
    assert case.stats.done == 4, "what is not safe is not counted"
    assert len(case.asked.asked) <= 8


@pytest.mark.looptime
async def test_a_sink_that_can_not_write_stops_the_calls_in_flight_at_once() -> None:
    case = Case(blocks_of(100), lambda index: 1.0 if index == 0 else 60.0, room=0)
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(StorageError, match="disk full"):
        await case.run()
    assert asyncio.get_running_loop().time() - began_s == 1.0
    assert case.asked.in_flight == 0
    assert case.sink.put_backs == 0, "they were asked, and may have to be paid for again"
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.looptime
async def test_an_input_that_can_not_be_read_stops_the_job_after_what_was_read() -> None:
    def blocks() -> Iterator[list[Row]]:
        yield [row(0), row(1)]
        raise StorageError("can't read in.jsonl")

    case = Case(blocks(), width=2)
    with pytest.raises(StorageError, match="can't read"):
        await case.run()
    assert case.asked.asked == [0, 1]


@pytest.mark.looptime
async def test_a_row_that_was_not_asked_is_put_back() -> None:
    case = Case(blocks_of(10), lambda index: CallStopped() if index >= 6 else 1.0)
    await case.run()
    assert sorted(case.sink.order) == list(range(6))
    assert case.sink.put_backs == 4
    assert case.sink.taken_up == 10
    assert case.stats.done == 6


@pytest.mark.looptime
async def test_a_row_that_may_be_paid_stays_counted_as_in_flight() -> None:
    stopped = CallStopped(may_be_paid=True)
    case = Case(blocks_of(10), lambda index: stopped if index >= 6 else 1.0, width=2)
    await case.run()
    assert (case.sink.taken_up, case.sink.put_backs) == (10, 0)
    assert sorted(case.sink.order) == list(range(6))


@pytest.mark.looptime
async def test_after_a_stop_no_row_is_taken_up_and_those_in_flight_end() -> None:
    case = Case(blocks_of(100), width=4)
    asyncio.get_running_loop().call_later(2.5, case.pipeline.stop)
    assert await case.run() == 3.0
    assert sorted(case.sink.order) == sorted(case.asked.asked) == list(range(12))
    assert case.sink.taken_up == 12


async def test_a_row_that_is_read_after_a_stop_is_not_taken_up() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    go_on = threading.Event()

    def blocks() -> Iterator[list[Row]]:
        assert go_on.wait(timeout=10)
        yield [row(0), row(1)]

    case = Case(blocks(), lambda _: 0.0)
    running = asyncio.create_task(case.run())
    await asyncio.sleep(0.01)
    case.pipeline.stop()
    go_on.set()
    await running
    assert (case.asked.asked, case.sink.taken_up) == ([], 0)


@pytest.mark.looptime
async def test_a_stop_before_the_start_asks_nothing() -> None:
    case = Case(blocks_of(10))
    case.pipeline.stop()
    await case.run()
    assert (case.asked.asked, case.sink.taken_up) == ([], 0)


@pytest.mark.looptime
async def test_a_cancelled_run_puts_nothing_half_done_away() -> None:
    case = Case(blocks_of(100), width=4)
    running = asyncio.create_task(case.run())
    await asyncio.sleep(1.5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(case.sink.order) == list(range(4))
    assert (case.sink.taken_up, case.sink.put_backs, case.asked.in_flight) == (8, 0, 0)


# --- some rows at a time


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("together", "width", "groups"),
    [
        (1, 10, [[n] for n in range(12)]),
        (5, 100, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]),
        (64, 100, [list(range(10)), [10, 11]]),
        (5, 7, [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9], [10, 11]]),
        (64, 3, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9], [10, 11]]),
    ],
)
async def test_rows_at_hand_are_asked_together_as_many_as_may_be_and_have_a_place(
    together: int, width: int, groups: list[list[int]]
) -> None:
    """A block is what is at hand; blocks of ten are read here."""
    case = Case(blocks_of(12), width=width, together=together)
    await case.run()
    assert case.asked.groups == groups
    assert sorted(case.sink.order) == list(range(12))
    assert case.sink.taken_up == 12


@given(
    delays=st.lists(st.sampled_from([0.0, 0.5, 1.0, 7.0]), max_size=80),
    block_rows=st.integers(1, 20),
    width=st.integers(1, 12),
    together=st.integers(1, 15),
    bound=st.integers(1, 30),
)
def test_no_more_rows_are_taken_up_than_there_are_places_and_room(
    delays: list[float], block_rows: int, width: int, together: int, bound: int
) -> None:
    async def play() -> None:
        case = Case(
            blocks_of(len(delays), block_rows),
            lambda index: delays[index],
            width,
            together=together,
            when_safe=SafeAfter(2.0),
            max_unstored=bound,
        )
        take_up = case.sink.take_up

        def watched(rows: int) -> None:
            assert 1 <= rows <= together
            assert case.pipeline.in_flight <= width
            unstored = bound - case.writer.space_left
            assert unstored + case.pipeline.in_flight < bound + width
            take_up(rows)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(case.sink, "take_up", watched)
            await case.run()
        assert case.asked.most_in_flight <= width
        assert sorted(case.sink.order) == list(range(len(delays)))
        assert max(map(len, case.asked.groups), default=0) <= min(together, width, bound)

    virtually(play)


@pytest.mark.looptime
async def test_a_row_that_is_delivered_gives_its_place_free_whatever_its_group_waits_for() -> None:
    case = Case(blocks_of(40), lambda index: 60.0 if index == 0 else 1.0, width=4, together=4)
    assert await case.run() == 60.0
    assert sorted(case.sink.order[:-1]) == list(range(1, 40))
    assert case.sink.order[-1] == 0
    assert case.sink.outcomes[0].latency_s == 1.0
    assert case.asked.most_in_flight == 4


@pytest.mark.looptime
async def test_a_row_that_is_put_back_gives_its_place_free_too() -> None:
    stopped = CallStopped()
    case = Case(blocks_of(40), lambda i: 60.0 if i == 0 else stopped if i < 10 else 1.0, together=4)
    assert await case.run() == 60.0
    assert sorted(case.sink.order) == [0, *range(10, 40)]
    assert (case.sink.taken_up, case.sink.put_backs) == (40, 9)


@pytest.mark.looptime
async def test_bad_rows_among_others_are_put_away_at_once_and_the_others_asked() -> None:
    failure = Failure(kind="bad_row", message="not JSON")
    rows = [Row(index=n, failure=failure) if n in (0, 2, 5) else row(n) for n in range(7)]
    case = Case([rows], width=7, together=7)
    await case.run()
    assert case.asked.groups == [[1, 3, 4, 6]]
    assert sorted(case.sink.order[:3]) == [0, 2, 5]
    for index, outcome in case.sink.by_index.items():
        text = None if outcome.reply is None else outcome.reply.text
        assert text == (None if index in (0, 2, 5) else str(index))


@pytest.mark.looptime
async def test_where_all_rows_of_a_group_are_bad_nobody_is_asked() -> None:
    failure = Failure(kind="bad_row", message="not JSON")
    case = Case([[Row(index=n, failure=failure) for n in range(9)]], width=3, together=3)
    await case.run()
    assert (case.asked.groups, case.sink.order) == ([], list(range(9)))


REPLY = Reply(text="x", finish_reason="stop", model="m", usage=Usage(1, 1))


class Ending:
    """Delivers the first rows of a group, some of them more than once, and ends as it is told."""

    def __init__(self, delivers: Sequence[int], error: Exception | None = None) -> None:
        self._delivers = delivers
        self._error = error

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        await asyncio.sleep(1.0)
        for position in self._delivers:
            rows[position].deliver(REPLY)
        if self._error is not None:
            raise self._error


def kinds(case: Case) -> dict[int, str | None]:
    """Return by row how it has failed; None: it was answered."""
    return {
        outcome.row.index: None if outcome.failure is None else outcome.failure.kind
        for outcome in case.sink.outcomes
    }


@pytest.mark.looptime
@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret text of a row"),
        ExceptionGroup("secret", [KeyError("x"), ValueError("secret")]),
        ExceptionGroup("out", [ExceptionGroup("in", [TimeoutError()])]),
    ],
)
async def test_where_a_layer_raises_what_it_should_not_rows_that_are_delivered_stay_so(
    error: Exception,
) -> None:
    case = Case(blocks_of(5), width=5, together=5, answers=Ending([3, 0], error))
    await case.run()
    assert kinds(case) == {3: None, 0: None, 1: "internal", 2: "internal", 4: "internal"}
    assert len(case.sink.outcomes) == case.sink.taken_up == 5
    for outcome in case.sink.outcomes:
        if outcome.failure is not None:
            assert "secret" not in outcome.failure.message
            assert "Group" not in outcome.failure.message, "it says what it was"


@pytest.mark.looptime
async def test_a_fault_in_one_group_is_none_of_the_others() -> None:
    case = Case(blocks_of(12), lambda i: ValueError() if i == 1 else 2.0, width=9, together=3)
    await case.run()
    assert kinds(case) == {n: "internal" if n < 3 else None for n in range(12)}


class Forgetful:
    """Never delivers every third row."""

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        await asyncio.sleep(1.0)
        for row in rows:
            if index_of(row.request) % 3 != 1:
                row.deliver(REPLY)


@pytest.mark.looptime
@pytest.mark.parametrize("width", [1, 3, 9])
async def test_a_row_that_a_layer_has_forgotten_is_a_failure_and_keeps_no_place(
    width: int,
) -> None:
    case = Case(blocks_of(9), width=width, together=3, answers=Forgetful())
    async with asyncio.timeout(100):
        await case.run()
    assert kinds(case) == {n: "internal" if n % 3 == 1 else None for n in range(9)}
    assert (case.sink.taken_up, case.pipeline.in_flight) == (9, 0)


@pytest.mark.looptime
async def test_a_row_that_is_delivered_twice_is_put_away_once() -> None:
    case = Case(blocks_of(3), width=3, together=3, answers=Ending([1, 1, 0]))
    await case.run()
    assert sorted(case.sink.order) == [0, 1, 2]
    assert kinds(case)[1] is None
    assert case.pipeline.in_flight == 0


@pytest.mark.looptime
@pytest.mark.parametrize("together", [1, 4])
async def test_an_error_of_the_job_in_a_group_of_errors_stops_it_and_is_raised_alone(
    together: int,
) -> None:
    refused = ExceptionGroup("out", [ExceptionGroup("in", [REFUSED])])
    delivered = [0] if together > 1 else []
    case = Case(blocks_of(4), width=4, together=together, answers=Ending(delivered, refused))
    with pytest.raises(ProviderRefused) as caught:
        await case.run()
    assert caught.value is REFUSED
    assert case.sink.order == delivered, "the others stay pending"
    assert (case.sink.taken_up, case.sink.put_backs) == (
        4,
        4 - len(delivered) if together > 1 else 4,
    )
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.looptime
async def test_after_a_stop_no_group_is_taken_up_and_those_in_flight_end() -> None:
    case = Case(blocks_of(100), lambda i: 1.0 + i % 3, width=8, together=3)
    asyncio.get_running_loop().call_later(2.5, case.pipeline.stop)
    await case.run()
    asked = sorted(case.asked.asked)
    assert sorted(case.sink.order) == asked == list(range(case.sink.taken_up))
    assert len(asked) < 30


@pytest.mark.looptime
async def test_a_stop_while_all_places_are_taken_ends_the_run_with_the_last_of_them() -> None:
    case = Case(blocks_of(100), lambda _: 10.0, width=4, together=2)
    asyncio.get_running_loop().call_later(5, case.pipeline.stop)
    assert await case.run() == 10.0
    assert sorted(case.sink.order) == list(range(4))


@pytest.mark.looptime
@pytest.mark.parametrize("rows", [0, 1, 3, 10, 11, 20])
@pytest.mark.parametrize("together", [1, 4, 64])
async def test_the_end_of_the_input_is_told_once_when_the_last_rows_are_asked(
    rows: int, together: int
) -> None:
    """Or what gathers rows would send a batch away that they would have filled."""
    case = Case([])
    told: list[int] = []

    def input_ended() -> None:
        told.append(sum(map(len, case.asked.groups)))

    feed = OrderedFeed(iter(blocks_of(rows)))
    case.pipeline = Pipeline(
        feed, case.asked, case.sink, case.writer, Intake(8, together), input_ended=input_ended
    )
    await case.run()
    assert told == [rows]


class ByLength:
    """Every row weighs the same."""

    def of(self, request: Request) -> tuple[int, int]:
        return 1, 1


class Sent:
    """A `Sends` that takes a minute, but for the first call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self.calls.append([index_of(request) for request in requests])
        await asyncio.sleep(60.0 if len(self.calls) > 1 else 1.0)
        return [REPLY] * len(requests)


@pytest.mark.looptime
@pytest.mark.parametrize("together", [1, 2, 3, 5, 7])
async def test_rows_in_lots_that_are_given_up_are_not_said_to_be_unasked(together: int) -> None:
    """Whoever leads a batch: they may have to be paid for again, and the report counts them."""
    sent = Sent()
    batcher = Batcher(sent, BatchCaps(items=3), ByLength(), Stats())
    case = Case(blocks_of(60, 60), width=30, together=together, room=0, answers=batcher)
    with pytest.raises(StorageError):
        await case.run()
    assert now_s() == 1.0
    assert len(sent.calls) >= 10
    assert case.sink.put_backs == 0


# --- rows that wait until their answers are safe


class SafeAfter:
    """A store that says of everything that it is safe, so many seconds later."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def __call__(self, then: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, then)


def never(then: Callable[[], None]) -> None:
    """Stand for a store that never says that anything is safe."""


@pytest.mark.looptime
async def test_rows_of_one_turn_are_one_write() -> None:
    case = Case(blocks_of(20), width=5)
    await case.run()
    assert case.sink.writes == [5, 5, 5, 5]


@pytest.mark.looptime
async def test_a_slow_store_does_not_hold_up_calls() -> None:
    case = Case(blocks_of(20), width=4, when_safe=SafeAfter(30.0))
    running = asyncio.create_task(case.run())
    await asyncio.sleep(5.5)
    assert sorted(case.asked.asked) == list(range(20))
    assert (case.asked.in_flight, case.asked.most_in_flight) == (0, 4)
    assert sorted(case.sink.order) == list(range(20)), "nor the writing"
    assert await running == 5.0 + 30.0


@pytest.mark.looptime
@pytest.mark.parametrize("together", [1, 3, 64])
@pytest.mark.parametrize(("width", "bound"), [(4, 10), (4, 12), (1, 3)])
@pytest.mark.parametrize("delay_s", [0.0, 0.3])
async def test_over_a_store_that_is_never_safe_rows_are_asked_up_to_the_bound_and_no_more(
    width: int, bound: int, together: int, delay_s: float
) -> None:
    """Those that are in flight when the bound is reached come on top."""
    case = Case(
        blocks_of(100),
        lambda index: 1.0 + delay_s * (index % 5),
        width=width,
        when_safe=never,
        max_unstored=bound,
        together=together,
    )
    running = asyncio.create_task(case.run())
    await asyncio.sleep(1000)
    asked = len(case.asked.asked)
    assert bound <= asked <= bound + width - 1
    assert (sorted(case.asked.asked), case.asked.in_flight) == (list(range(asked)), 0)
    assert case.sink.taken_up == asked
    assert (len(case.sink.outcomes), case.stats.done, running.done()) == (asked, asked, False)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.looptime
async def test_rows_are_asked_again_when_there_is_room() -> None:
    case = Case(blocks_of(100), width=4, when_safe=SafeAfter(10.0), max_unstored=8)
    assert await case.run() > 100, "eleven at a time, ten seconds each"
    assert sorted(case.sink.order) == list(range(100))


@pytest.mark.looptime
async def test_a_run_ends_when_all_that_was_answered_is_stored() -> None:
    case = Case(blocks_of(100), width=4, when_safe=SafeAfter(10.0))
    asyncio.get_running_loop().call_later(2.5, case.pipeline.stop)
    assert await case.run() == 3.0 + 10.0
    assert sorted(case.sink.order) == sorted(case.asked.asked) == list(range(12))


@pytest.mark.looptime
async def test_rows_that_were_answered_are_written_when_a_run_is_cancelled() -> None:
    case = Case(blocks_of(100), width=4, when_safe=never)
    running = asyncio.create_task(case.run())
    await asyncio.sleep(2.5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(case.sink.order) == list(range(8))
    assert (case.stats.done, case.sink.taken_up) == (8, 12)


@pytest.mark.looptime
async def test_rows_that_were_answered_are_written_when_an_error_stops_the_job() -> None:
    case = Case(blocks_of(100), lambda i: REFUSED if i == 9 else 1.0, when_safe=never)
    with pytest.raises(ProviderRefused):
        await case.run()
    assert set(case.sink.order) >= set(range(8))
    assert set(case.sink.order).isdisjoint({9})
    assert case.stats.done == len(case.sink.order) == len(set(case.sink.order))


# --- what it waits for, for who looks


def seen(case: Case) -> tuple[int, str | None, bool]:
    pipeline = case.pipeline
    return pipeline.in_flight, pipeline.waits_for, pipeline.has_ended


@pytest.mark.looptime
async def test_where_all_places_are_taken_nothing_is_waited_for_up_to_the_end() -> None:
    case = Case(blocks_of(10), lambda index: 1.0 + index % 4, width=4)
    running = asyncio.create_task(case.run())
    await asyncio.sleep(0.5)
    assert seen(case) == (4, None, False)
    await asyncio.sleep(4.6)
    assert seen(case)[1:] == (None, True)
    assert 0 < seen(case)[0] < 4, "the last rows"
    await running
    assert seen(case) == (0, None, True)


@pytest.mark.looptime
async def test_a_place_without_a_row_waits_for_rows() -> None:
    go_on = asyncio.Event()

    class Slow(OrderedFeed):
        async def take(self, most: int) -> Sequence[Row]:
            await go_on.wait()
            return await super().take(most)

    case = Case([])
    writer = OutcomeWriter(case.sink, case.stats)
    case.pipeline = Pipeline(Slow(iter(blocks_of(2))), case.asked, case.sink, writer, Intake(4))
    running = asyncio.create_task(case.run())
    await asyncio.sleep(0.5)
    assert seen(case) == (0, "rows", False)
    go_on.set()
    await asyncio.sleep(0.5)
    assert seen(case) == (2, None, True)
    await running
    assert seen(case) == (0, None, True)


@pytest.mark.looptime
async def test_what_is_ahead_of_the_store_waits_for_room() -> None:
    case = Case(blocks_of(20), width=3, when_safe=SafeAfter(30.0), max_unstored=6)
    running = asyncio.create_task(case.run())
    await asyncio.sleep(10)
    assert seen(case) == (0, "space", False)
    await running
    assert seen(case) == (0, None, True)
