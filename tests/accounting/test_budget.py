"""The cap holds: whatever calls cost within their bounds, however they end, whoever gives up.

Time is virtual.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import looptime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmscale.accounting.budget import CallBounds, CostBudget
from llmscale.accounting.prices import OwnPrice, Prices
from llmscale.accounting.token_bounds import CALL_TOKENS
from llmscale.core.errors import CallFailed, CallStopped
from llmscale.core.records import Request
from tests.virtual_time import now_s

DOLLAR_A_TOKEN = Prices(is_listed=False, own=[OwnPrice("openai/*", 1e6, 1e6)])
NO_BOUNDS = CallBounds(lambda _: (), lambda _: None)


def budget(max_usd: float, **fields: Any) -> CostBudget:
    return CostBudget(max_usd, NO_BOUNDS, **fields)


async def attempt(purse: CostBudget, max_call_usd: float, cost_usd: float | None, s: float) -> None:
    """Take as long as an attempt does, and charge it."""
    reservation = await purse.reserve("openai/m", max_call_usd)
    paid_usd = None  # where it is given up
    try:
        await asyncio.sleep(s)
        paid_usd = cost_usd
    finally:
        reservation.charge(paid_usd)


def virtually(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(play())


# ---- reserving and settling -----------------------------------------------------------------


@pytest.mark.looptime
async def test_what_fits_goes_at_once_and_what_does_not_waits_for_what_is_under_way() -> None:
    purse = budget(10.0)
    async with asyncio.TaskGroup() as group:
        group.create_task(attempt(purse, 6.0, 1.0, 5))
        late = group.create_task(attempt(purse, 6.0, 1.0, 5))
        await asyncio.sleep(0.1)
        assert purse.left_usd == pytest.approx(4.0)
        await asyncio.sleep(5)
        assert not late.done()
        assert purse.left_usd == pytest.approx(3.0)
    assert now_s() == pytest.approx(10)
    assert purse.spent_usd == pytest.approx(2.0)
    assert purse.reached is None


@pytest.mark.looptime
async def test_when_nothing_is_under_way_and_the_next_does_not_fit_it_is_reached() -> None:
    told: list[float] = []
    purse = budget(10.0, spent_usd=6.0)
    purse.when_reached = lambda: told.append(now_s())
    async with asyncio.TaskGroup() as group:
        group.create_task(attempt(purse, 3.0, 2.5, 7))
        await asyncio.sleep(1)
        for max_call_usd in (3.0, 0.1):
            with pytest.raises(CallStopped):
                await attempt(purse, max_call_usd, 0.0, 1)
    assert told == [pytest.approx(7)], "once, and after what was under way has ended"
    assert str(purse.reached) == (
        "$8.5000 of --max-cost 10 is spent, and the next call may cost $3.0000; rows are left, and "
        "the same command with a higher --max-cost goes on"
    )


@pytest.mark.looptime
async def test_nobody_overtakes_a_dear_call_that_waits() -> None:
    purse = budget(10.0)
    order: list[str] = []

    async def named(name: str, max_call_usd: float) -> None:
        reservation = await purse.reserve("openai/m", max_call_usd)
        order.append(name)
        await asyncio.sleep(1)
        reservation.charge(0.0)

    async with asyncio.TaskGroup() as group:
        for name, max_call_usd in (("first", 6.0), ("dear", 9.0), ("cheap", 1.0)):
            group.create_task(named(name, max_call_usd))
    assert order == ["first", "dear", "cheap"]


@pytest.mark.looptime
async def test_a_call_with_an_unknown_outcome_counts_as_its_reservation() -> None:
    purse = budget(10.0)
    await attempt(purse, 4.0, None, 1)
    assert (purse.spent_usd, purse.unconfirmed_usd) == (0.0, 4.0)
    with pytest.raises(CallStopped):
        await attempt(purse, 7.0, None, 1)
    assert (
        "$0.0000 of --max-cost 10 is spent, $4.0000 is unconfirmed (calls whose outcome is unknown)"
        in str(purse.reached)
    )


@pytest.mark.looptime
async def test_a_call_that_is_given_up_on_its_way_counts_and_one_that_waits_does_not() -> None:
    purse = budget(10.0)
    under_way = asyncio.create_task(attempt(purse, 6.0, 1.0, 50))
    waiting = asyncio.create_task(attempt(purse, 6.0, 1.0, 50))
    third = asyncio.create_task(attempt(purse, 4.0, 1.0, 5))
    await asyncio.sleep(1)
    assert not third.done()
    waiting.cancel()
    await third
    assert now_s() == pytest.approx(6), "it had waited for the one that was given up"
    under_way.cancel()
    await asyncio.gather(under_way, waiting, return_exceptions=True)
    assert (purse.spent_usd, purse.unconfirmed_usd) == (1.0, 6.0)


@pytest.mark.looptime
async def test_money_that_comes_in_the_moment_of_a_cancellation_goes_to_the_next() -> None:
    purse = budget(10.0)
    first = await purse.reserve("openai/m", 8.0)
    given_up = asyncio.create_task(attempt(purse, 8.0, 1.0, 5))
    following = asyncio.create_task(attempt(purse, 8.0, 1.0, 5))
    await asyncio.sleep(0.1)
    first.charge(0.0)
    given_up.cancel()
    await following
    assert (purse.spent_usd, purse.unconfirmed_usd, purse.left_usd) == (1.0, 0.0, 9.0)


@pytest.mark.looptime
async def test_a_stop_sends_waiting_calls_away_and_charges_those_in_flight() -> None:
    purse = budget(10.0)
    under_way = asyncio.create_task(attempt(purse, 6.0, 2.0, 5))
    waiting = asyncio.create_task(attempt(purse, 6.0, 2.0, 5))
    await asyncio.sleep(1)
    purse.stop()
    with pytest.raises(CallStopped):
        await waiting
    await under_way
    assert purse.spent_usd == 2.0
    assert purse.reached is None
    with pytest.raises(CallStopped):
        await purse.reserve("openai/m", 0.1)


@pytest.mark.looptime
async def test_what_costs_nothing_goes_out_even_where_all_is_spent() -> None:
    purse = budget(1.0, spent_usd=1.0)
    await attempt(purse, 0.0, 0.0, 1)
    await attempt(purse, 0.0, None, 1)
    assert (purse.spent_usd, purse.unconfirmed_usd, purse.reached) == (1.0, 0.0, None)


@pytest.mark.looptime
async def test_every_change_is_noted_before_a_call_goes_out_and_after_it() -> None:
    noted: list[tuple[float, float]] = []
    purse = budget(
        10.0,
        spent_usd=1.0,
        unconfirmed_usd=0.5,
        note=lambda usd, unseen: noted.append((usd, unseen)),
    )
    await attempt(purse, 2.0, 1.0, 1)
    await attempt(purse, 2.0, None, 1)
    assert noted == [(3.5, 0.5), (2.5, 0.5), (4.5, 0.5), (4.5, 2.5)]


# ---- the cap, whatever happens --------------------------------------------------------------

Attempts = st.lists(
    st.tuples(
        st.floats(0.001, 5.0),  # the most
        st.floats(0.0, 1.0),  # the share of it that it costs: an estimate with any margin
        st.sampled_from(["paid", "failed", "unseen", "cancelled"]),
        st.floats(0.0, 3.0),  # how long it takes
        st.floats(0.0, 4.0),  # when it is given up
    ),
    max_size=60,
)


@given(Attempts, st.floats(0.01, 40.0), st.integers(1, 64))
@example([(1.0, 1.0, "paid", 1.0, 0.0)] * 60, 10.0, 64)
def test_no_order_of_costs_failures_and_cancellations_passes_the_cap(
    attempts: list[tuple[float, float, str, float, float]], max_usd: float, width: int
) -> None:
    """P14. What was really billed is counted beside the budget, which must never be told of it."""

    async def play() -> None:
        purse = budget(max_usd)
        billed_usd = 0.0
        places = asyncio.Semaphore(width)

        async def one(most: float, share: float, end: str, takes_s: float) -> None:
            nonlocal billed_usd
            async with places:
                reservation = await purse.reserve("openai/m", most)
                cost_usd: float | None = None
                try:
                    billed_usd += 0.0 if end == "failed" else most * share  # on arrival
                    assert billed_usd <= max_usd * (1 + 1e-12)
                    await asyncio.sleep(takes_s)
                    cost_usd = {"paid": most * share, "failed": 0.0}.get(end)
                finally:
                    reservation.charge(cost_usd)

        tasks = []
        for most, share, end, takes_s, given_up_s in attempts:
            task = asyncio.create_task(one(most, share, end, takes_s))
            tasks.append(task)
            if end == "cancelled":
                asyncio.get_running_loop().call_later(given_up_s, task.cancel)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert billed_usd <= max_usd * (1 + 1e-12)
        faults = [e for e in ended if e and not isinstance(e, CallStopped | asyncio.CancelledError)]
        assert not faults
        stopped = [e for e in ended if isinstance(e, CallStopped)]
        assert bool(stopped) == (purse.reached is not None)
        assert purse.left_usd == pytest.approx(
            max_usd - purse.spent_usd - purse.unconfirmed_usd, abs=1e-9
        ), "nothing stays set aside"

    virtually(play)


@given(st.floats(1.01, 20.0), st.integers(1, 32), st.integers(0, 1_000))
def test_a_server_that_keeps_to_no_bound_passes_the_cap_with_one_round_of_calls_and_no_more(
    factor: float, width: int, seed: int
) -> None:
    """Calls cost `factor` times their most: from the first answer on that much is set aside."""

    async def play() -> None:
        purse = budget(100.0)
        rng = random.Random(seed)
        sent = 0

        async def worker() -> None:
            nonlocal sent
            while True:
                reservation = await purse.reserve("openai/m", 1.0)
                sent += 1
                await asyncio.sleep(rng.uniform(0.9, 1.0))
                reservation.charge(factor)

        workers = [asyncio.create_task(worker()) for _ in range(width)]
        await asyncio.gather(*workers, return_exceptions=True)
        assert purse.spent_usd == pytest.approx(sent * factor)
        assert purse.spent_usd <= max(100.0, width * factor) + width * factor

    virtually(play)


# ---- what is said ---------------------------------------------------------------------------


@pytest.mark.looptime
async def test_a_server_that_keeps_to_no_bound_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    purse = budget(1_000.0)
    for _ in range(3):
        await attempt(purse, 1.0, 30.0, 1)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("a call to openai/m has cost 30.0 times what its bounds allow")


# ---- the most that a call can cost -----------------------------------------------------------


def asking(text: str, model: str = "openai/m", **fields: Any) -> Request:
    return Request(model=model, messages=[{"role": "user", "content": text}], **fields)


def bounds(*prices: Prices, max_answer_tokens: int | None = None) -> CallBounds:
    return CallBounds(lambda _: prices, lambda _: max_answer_tokens)


def test_the_most_is_that_of_the_dearest_endpoint_of_the_pool() -> None:
    cheap = Prices(is_listed=False, own=[OwnPrice("openai/*", 1.0, 1.0)])
    request = asking("hello", max_tokens=100)
    alone = bounds(DOLLAR_A_TOKEN).max_call_usd([request])
    assert bounds(cheap, DOLLAR_A_TOKEN, cheap).max_call_usd([request]) == alone
    assert CALL_TOKENS + 100 < alone < CALL_TOKENS + 100 + 400


def test_the_most_of_a_batch_is_the_sum_of_its_rows() -> None:
    texts = [Request(model="openai/e", text="a" * 10_000) for _ in range(50)]
    found = bounds(DOLLAR_A_TOKEN).max_call_usd(texts)
    assert 50 * 10_000 < found < 50 * 10_100


def test_a_model_in_this_process_needs_no_bound() -> None:
    free = Prices(is_listed=False, is_free=True)
    assert bounds(free).max_call_usd([asking("hello", "sim/a")]) == 0.0


@pytest.mark.parametrize(
    ("prices", "request_", "reason"),
    [
        (
            (Prices(is_listed=False),),
            asking("x", max_tokens=5),
            r"the price of openai/m is unknown; .*\[\[price",
        ),
        (
            (DOLLAR_A_TOKEN, Prices(is_listed=False)),
            asking("x", max_tokens=5),
            r"the price of openai/m is unknown",
        ),
        ((DOLLAR_A_TOKEN,), asking("x"), "set max_tokens"),
        ((DOLLAR_A_TOKEN,), asking([{"type": "file"}], max_tokens=5), "neither text nor"),  # type: ignore[arg-type]
    ],
)
def test_a_row_that_nothing_bounds_fails_alone_and_is_never_sent(
    prices: tuple[Prices, ...], request_: Request, reason: str
) -> None:
    with pytest.raises(
        CallFailed, match=f"^--max-cost prevents this row from being sent: .*{reason}"
    ) as e:
        bounds(*prices).max_call_usd([request_])
    assert e.value.attempts == 0
    assert (e.value.failure.kind, e.value.failure.retryable) == ("invalid_request", False)


def test_the_prices_of_a_model_are_looked_up_once() -> None:
    asked: list[str] = []

    def prices_of(model: str) -> list[Prices]:
        asked.append(model)
        return [DOLLAR_A_TOKEN]

    found = CallBounds(prices_of, lambda _: 5)
    for model in ("openai/a", "openai/b", "openai/a"):
        found.max_call_usd([asking("x", model)])
    assert asked == ["openai/a", "openai/b"]
