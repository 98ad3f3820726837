"""A run that drifts from its estimate is warned about once, and not before it is certain."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from llmscale.accounting.forecast.drift import CHECK_EVERY_S, MIN_S, DriftWatch
from llmscale.accounting.forecast.drift_summary import DriftSummary
from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.accounting.forecast.saved_estimate import SavedEstimate
from llmscale.accounting.stats import Stats
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage

ROW = Row(index=0, request=Request(model="sim/a", messages=[]))
Warned = Callable[[], list[str]]


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Warned:
    return lambda: [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def expected(**fields: Any) -> SavedEstimate:
    """Return an estimate of 1,000 rows for $8 to $12 in 0.5 to 2 hours."""
    settings: dict[str, Any] = {
        "asked": 1_000.0,
        "usd": Interval(10.0, 8.0, 12.0),
        "hours": Interval(1.0, 0.5, 2.0),
    }
    return SavedEstimate(inputs=[], settings={}, limit=None, made="", **(settings | fields))


def answer(stats: Stats, rows: int, usd: float | None = 0.01, **fields: Any) -> None:
    """Count answered rows of `usd` dollars each."""
    for _ in range(rows):
        reply = Reply(
            text="x", finish_reason="stop", model="a", usage=Usage(1, 1), cost_usd=usd, **fields
        )
        if not (reply.cached or reply.deduped):
            stats.calls_at("sim/a", "sim/a").add(0.1, [reply])
        stats.add_outcome(Outcome(row=ROW, reply=reply))


def fail(stats: Stats, rows: int, kind: Any) -> None:
    for _ in range(rows):
        failure = Failure(kind=kind, message="")
        stats.add_outcome(Outcome(row=ROW, failure=failure, attempts=1))


async def after(watch: DriftWatch, seconds: float) -> None:
    """Check now, and again after so many seconds."""
    watch.check()
    await asyncio.sleep(seconds)
    watch.check()


@pytest.mark.looptime
async def test_a_run_within_its_bounds_is_not_warned_about(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(expected(), stats)
    answer(stats, 500)
    await after(watch, 1_800)
    assert warned() == []
    found = watch.summary()
    assert found.projected_usd == pytest.approx(10.0)
    assert found.projected_hours == pytest.approx(1.0)
    assert replace(found, projected_usd=None, projected_hours=None) == DriftSummary(
        usd=10.0,
        usd_low=8.0,
        usd_high=12.0,
        hours=1.0,
        hours_low=0.5,
        hours_high=2.0,
        projected_usd=None,
        projected_hours=None,
        drift=[],
    )


@pytest.mark.looptime
@pytest.mark.parametrize(("usd", "total"), [(0.02, "$20.0000"), (0.005, "$5.0000")])
async def test_a_run_that_costs_more_or_less_is_warned_about_once(
    usd: float, total: str, warned: Warned
) -> None:
    stats = Stats()
    watch = DriftWatch(expected(hours=UNKNOWN), stats)
    for _ in range(5):
        answer(stats, 50, usd)
        await after(watch, 10)
    assert warned() == [
        f"after 100 rows, this run is projected to take {total}; "
        "the estimate was at least $8.0000 and at most $12.0000"
    ]
    assert watch.summary().drift == ["usd"]


@pytest.mark.looptime
async def test_there_is_no_warning_before_enough_rows_were_sent(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(expected(), stats)
    answer(stats, 99, usd=1.0)
    await after(watch, 3_600)
    assert warned() == []
    answer(stats, 1, usd=1.0)
    watch.check()
    assert len(warned()) == 2, "dollars and hours"


@pytest.mark.looptime
async def test_a_tenth_of_a_small_job_is_enough(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(expected(asked=50.0), stats)
    answer(stats, 5, usd=1.0)
    await after(watch, 1)
    assert len(warned()) == 1


@pytest.mark.looptime
@pytest.mark.parametrize(("minutes", "hours"), [(30, "5.00"), (2, "0.33")])
async def test_a_run_that_is_slower_or_faster_is_warned_about(
    minutes: int, hours: str, warned: Warned
) -> None:
    stats = Stats()
    watch = DriftWatch(expected(), stats)
    answer(stats, 100)
    await after(watch, minutes * 60)
    (warning,) = warned()
    assert f"to take {hours} h; the estimate was at least 0.50 h and at most 2.00 h" in warning


@pytest.mark.looptime
async def test_there_is_no_warning_about_hours_in_the_first_minute(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(expected(), stats)
    answer(stats, 100)
    await after(watch, MIN_S - 1)
    assert warned() == []


@pytest.mark.looptime
async def test_what_the_rows_so_far_may_be_off_by_chance_is_no_drift(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(expected(usd_deviation=0.03, hours=UNKNOWN), stats)
    answer(stats, 100, usd=0.019)  # $19 for all, and 3 standard errors are $8.5
    await after(watch, 1)
    assert warned() == []
    answer(stats, 800, usd=0.019)
    watch.check()
    assert len(warned()) == 1


@pytest.mark.looptime
async def test_only_rows_that_are_sent_count(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(expected(), stats)
    answer(stats, 2_000, cached=True)
    answer(stats, 2_000, deduped=True)
    fail(stats, 50, "bad_row")
    answer(stats, 90)
    fail(stats, 10, "timeout")
    await after(watch, 1)
    assert watch.summary().projected_usd == pytest.approx(9.0)


@pytest.mark.looptime
async def test_without_a_price_no_cost_is_projected(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(expected(hours=UNKNOWN), stats)
    answer(stats, 100, usd=None)
    await after(watch, 1)
    assert warned() == []
    assert watch.summary().projected_usd is None


@pytest.mark.looptime
async def test_unknown_bounds_are_never_exceeded(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(
        expected(usd=Interval(None, 8.0, None), hours=Interval(None, 0.1, None)), stats
    )
    answer(stats, 100, usd=5.0)
    await after(watch, 36_000)
    assert warned() == []
    assert watch.summary().projected_usd == pytest.approx(5_000)


@pytest.mark.looptime
async def test_it_checks_every_few_seconds_and_once_more_at_the_end(warned: Warned) -> None:
    stats = Stats()
    watch = DriftWatch(expected(hours=UNKNOWN), stats)
    task = asyncio.create_task(watch.watch())
    await asyncio.sleep(2.5 * CHECK_EVERY_S)
    answer(stats, 200, usd=1.0)
    assert warned() == []
    await asyncio.sleep(CHECK_EVERY_S)
    assert len(warned()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watch.summary().projected_hours == pytest.approx(
        3.5 * CHECK_EVERY_S / 3600 / 200 * 1_000
    )


async def test_a_run_that_sent_nothing_projects_nothing() -> None:
    watch = DriftWatch(expected(), Stats())
    watch.check()
    found = watch.summary()
    assert (found.projected_usd, found.projected_hours, found.drift) == (None, None, [])
