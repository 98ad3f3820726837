"""The time of a run, look by look: all of it is counted, as what was found, and nothing twice."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmscale.accounting.prices import Prices
from llmscale.accounting.stats import Cause, Stats
from llmscale.config import EndpointConfig
from llmscale.core.records import Failure, Outcome, Reply, Row, Usage
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.observe.bottleneck import Snapshot
from llmscale.runtime import bottleneck_meter as meter
from llmscale.runtime.bottleneck_meter import BEAT_S, BottleneckMeter
from tests.engine.balance import Unasked
from tests.virtual_time import now_s

pytestmark = pytest.mark.looptime


class Clocks:
    """A `CpuClock` whose clocks a test sets."""

    def __init__(self) -> None:
        self.had = self.lacked = 0.0
        self.is_open = False

    def had_s(self) -> float:
        return self.had

    def lacked_s(self) -> float:
        return self.lacked

    def __enter__(self) -> None:
        self.is_open = True

    def __exit__(self, *_: object) -> None:
        self.is_open = False


class World:
    """A run as a meter sees it, which does nothing by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stats = Stats()
        self.processor = Clocks()
        self.threads_count: list[bool] = []
        monkeypatch.setattr(meter, "CpuClock", self._processor)
        self.pipeline = SimpleNamespace(in_flight=4, waits_for=None, has_ended=False)
        self.feed = SimpleNamespace(waits_for="reading", has_ended=False)
        self.writer = SimpleNamespace(stood_still_s=0.0)
        self.balanced = SimpleNamespace(waiting_for_money=0, backing_off={})
        self.pools: list[Any] = []
        self.one, self.local = endpoint(), endpoint(full_at=2)

    def _processor(self, *, threads_count: bool) -> Clocks:
        self.threads_count.append(threads_count)
        return self.processor

    def meter(self, *, is_in_process: bool = False) -> BottleneckMeter:
        pools = SimpleNamespace(opened=lambda: self.pools)
        endpoints = {EndpointConfig(model="sim/a"): self.one, EndpointConfig(model="x"): self.local}
        opened = SimpleNamespace(endpoints=endpoints, is_in_process=is_in_process)
        stack = SimpleNamespace(balanced=self.balanced, pools=pools)
        parts = (self.pipeline, self.feed, self.writer, stack, opened)
        return BottleneckMeter(self.stats, *cast("Any", parts))

    async def watched(self, seconds: float) -> dict[Cause, float]:
        """Watch for so long, and return what that time was counted as."""
        watching = asyncio.create_task(self.meter().watch())
        await asyncio.sleep(seconds)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return {by: s for by, s in self.stats.causes_s.items() if s}

    def waiting(self, by: Cause, calls: int) -> None:
        self.pools.append(SimpleNamespace(wait_cause=SimpleNamespace(by=by), waiting=calls))


def endpoint(**settings: Any) -> Endpoint:
    return Endpoint("a", Unasked(), Slots(64, **settings), Prices(is_listed=False))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.05, 1.0, 61.7])
async def test_all_the_time_is_counted_however_short_a_run_is(world: World, seconds: float) -> None:
    world.one.in_flight = 4
    assert sum((await world.watched(seconds)).values()) == pytest.approx(seconds, abs=1e-5)


async def test_a_run_that_ends_before_the_first_look_did_hardly_begin(world: World) -> None:
    assert set(await world.watched(0.001)) == {"start"}


async def test_looks_are_about_ten_a_second_and_not_in_step_with_anything(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    times_s: list[float] = []

    def look(_: Snapshot) -> dict[Cause, float]:
        times_s.append(now_s())
        return {"width": 1.0}

    monkeypatch.setattr(meter, "shares", look)
    await world.watched(100.0)
    assert len(times_s) == pytest.approx(100 / BEAT_S, rel=0.1)
    phases = [at_s % BEAT_S for at_s in times_s]
    for part in range(4):
        in_part = sum(part / 4 <= phase / BEAT_S < (part + 1) / 4 for phase in phases)
        assert in_part == pytest.approx(len(phases) / 4, rel=0.25)


async def test_a_change_is_counted_from_about_when_it_came(world: World) -> None:
    world.one.in_flight = 4
    asyncio.get_running_loop().call_later(30, world.waiting, "rpm", 7)
    found = await world.watched(100.0)
    assert found == {
        "width": pytest.approx(30, abs=BEAT_S * 2),
        "rpm": pytest.approx(70, abs=BEAT_S * 2),
    }


async def test_when_all_is_over_the_rest_is_counted_as_what_was_found_last(world: World) -> None:
    world.one.in_flight = 4

    def end() -> None:
        world.one.in_flight = world.pipeline.in_flight = 0
        world.pipeline.has_ended = True

    asyncio.get_running_loop().call_later(9.99999, end)
    assert set(await world.watched(10.0)) == {"width"}


async def test_calls_after_the_last_row_are_distinguished_though_no_worker_has_asked_for_more(
    world: World,
) -> None:
    world.one.in_flight = 4
    world.feed.has_ended = True
    assert set(await world.watched(10.0)) == {"last"}


async def test_of_several_pools_and_of_money_each_has_the_part_of_its_calls(world: World) -> None:
    world.waiting("rpm", 3)
    world.waiting("tpm", 1)
    world.waiting("rpm", 2)
    world.balanced.waiting_for_money = 4
    found = await world.watched(10.0)
    assert found["rpm"] == pytest.approx(5.0, abs=0.1)
    assert found["tpm"] == pytest.approx(1.0, abs=0.1)
    assert found["budget"] == pytest.approx(4.0, abs=0.1)


async def test_what_is_in_flight_at_a_full_model_is_counted_apart(world: World) -> None:
    world.one.in_flight, world.local.in_flight = 6, 2
    found = await world.watched(10.0)
    assert found["width"] == pytest.approx(7.5, abs=0.1)
    assert found["local"] == pytest.approx(2.5, abs=0.1)


async def test_what_the_calls_wait_for_between_attempts_is_counted(world: World) -> None:
    world.balanced.backing_off = {"failing": 4}
    assert (await world.watched(10.0))["failing"] == pytest.approx(10, abs=0.1)


async def test_a_core_that_was_had_or_lacked_all_the_time_is_what_was_scarce(
    world: World,
) -> None:
    world.one.in_flight = 4
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    world.processor.had_s = lambda: 5.0 + (now_s() - began_s) * 0.25  # type: ignore[method-assign]
    world.processor.lacked_s = lambda: (now_s() - began_s) * 0.75  # type: ignore[method-assign]
    found = await world.watched(10.0)
    assert found["cpu"] == pytest.approx(2.5, abs=0.1)
    assert found["starved"] == pytest.approx(7.5, abs=0.1)


async def test_the_clocks_are_open_only_while_it_watches(world: World) -> None:
    watching = asyncio.create_task(world.meter().watch())
    await asyncio.sleep(1)
    assert world.processor.is_open
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert not world.processor.is_open


@pytest.mark.parametrize("is_in_process", [True, False])
async def test_threads_of_a_model_in_this_process_do_not_count_as_its_core(
    world: World, *, is_in_process: bool
) -> None:
    world.meter(is_in_process=is_in_process)
    assert world.threads_count == [not is_in_process]


async def test_while_the_output_takes_nothing_that_is_what_holds_the_run_back(
    world: World,
) -> None:
    world.one.in_flight = 4

    def stand_still() -> None:
        world.writer.stood_still_s += 3.0

    asyncio.get_running_loop().call_later(5, stand_still)
    found = await world.watched(10.0)
    assert found["writing"] <= 2 * BEAT_S, "no more than the time since the last look"


async def test_a_write_that_took_long_for_want_of_a_core_is_no_output_that_takes_nothing(
    world: World,
) -> None:
    one = world.meter()
    await asyncio.sleep(1.0)
    world.writer.stood_still_s = 0.75
    world.processor.lacked = 0.25
    one.look()
    assert world.stats.causes_s["writing"] == pytest.approx(0.5)
    assert sum(world.stats.causes_s.values()) == pytest.approx(1.0)


def outcome(*, is_answered: bool = True) -> Outcome:
    row = Row(index=0)
    if not is_answered:
        return Outcome(row=row, failure=Failure(kind="timeout", message=""))
    reply = Reply(text="x", finish_reason="stop", model="a", usage=Usage(3, 4), cost_usd=0.5)
    return Outcome(row=row, reply=reply)


async def test_what_has_ended_is_in_the_series_once_even_at_the_very_end(world: World) -> None:
    watching = asyncio.create_task(world.meter().watch())
    for number in range(40):
        await asyncio.sleep(0.25)
        world.stats.add_outcome(outcome(is_answered=number % 4 > 0))
        world.stats.calls_at("a", "sim/a").add(0.1, [cast("Reply", outcome().reply)])
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    found = world.stats.series.summary()
    assert (sum(found.rows), sum(found.failed), sum(found.tokens)) == (40, 10, 280)
    assert sum(found.cost_usd) == pytest.approx(20)


async def test_the_series_has_what_was_in_flight_and_what_waited(world: World) -> None:
    world.one.in_flight, world.local.in_flight = 6, 2
    world.waiting("rpm", 3)
    await world.watched(10.0)
    found = world.stats.series.summary()
    assert set(found.in_flight) == {8}
    assert set(found.waiting) == {3}
