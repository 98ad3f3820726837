"""What it costs to know what a run came to and what held it back: for each look, and for each row.

The layers are those of a run, with calls in flight and others that wait. A figure is the median of
several rounds, because other programs may have the core for some of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from statistics import median

from llmscale.accounting.stats import Stats, Waited
from llmscale.config import EndpointConfig
from llmscale.core.asked_row import AskedRow, Result
from llmscale.core.records import Outcome, Reply, Request, Row, Usage
from llmscale.engine.balance.wait_cause import WaitCause
from llmscale.engine.feed.ordered_feed import OrderedFeed
from llmscale.engine.outcome_writer import OutcomeWriter
from llmscale.engine.pipeline import Intake, Pipeline
from llmscale.runtime.bottleneck_meter import BEAT_S, BottleneckMeter
from llmscale.runtime.layer_stack import layers_on, open_all
from llmscale.runtime.models import Models
from llmscale.runtime.workload import ChatWorkload
from tests.benchmarks.machine import print_machine
from tests.benchmarks.simulated_run import Nowhere
from tests.settings import config_of

ROUNDS = 9
LOOKS, ROWS = 1_000, 10_000  # a round
ENDPOINTS, MODELS, CALLS = 4, 3, 200


def per_time_us(work: Callable[[int], object], times: int) -> float:
    """Return the microseconds of one time."""
    rounds_s = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        for number in range(times):
            work(number)
        rounds_s.append(time.perf_counter() - began_s)
    return median(rounds_s) / times * 1e6


@asynccontextmanager
async def watched(stats: Stats) -> AsyncIterator[BottleneckMeter]:
    """Yield the meter of a run in which half of the calls are in flight, and half wait."""
    capacity = CALLS // 2 // ENDPOINTS
    endpoints = tuple(
        EndpointConfig(model="sim/latency=1e4", capacity=capacity, rpm=60_000, weight=number)
        for number in range(1, ENDPOINTS + 1)
    )
    config = config_of(model="sim/latency=1e4", endpoint=endpoints, cache_mode="off")
    models = Models(config.models)
    workload = ChatWorkload(config)
    opened = open_all(config, models, workload)
    stack = layers_on(opened, config, workload, stats)
    async with aclosing(opened):
        ignored = IgnoredResults()
        rows = [AskedRow(request(number), ignored) for number in range(CALLS)]
        calls = asyncio.create_task(stack.answers.answer_all(rows))
        feed, sink = OrderedFeed(iter([])), Nowhere()
        writer = OutcomeWriter(sink, stats)
        pipeline = Pipeline(feed, stack.answers, sink, writer, Intake(CALLS))
        await asyncio.sleep(0.1)
        meter = BottleneckMeter(stats, pipeline, feed, writer, stack, opened)
        with meter._processor:
            yield meter
        calls.cancel()
        await asyncio.gather(calls, return_exceptions=True)


class IgnoredResults:
    """Receives results and drops them."""

    def receive(self, row: AskedRow, result: Result) -> None:
        """Do nothing."""


def request(number: int) -> Request:
    """Return one of a few models."""
    model = f"sim/model-{number % MODELS}"
    return Request(model=model, messages=[{"role": "user", "content": str(number)}])


def look_us() -> float:
    """Return what a look costs."""

    async def play() -> float:
        stats = Stats()
        count_rows(stats)
        async with watched(stats) as meter:
            return per_time_us(lambda _: meter.look(), LOOKS)

    return asyncio.run(play())


def count_rows(stats: Stats, longest_ms: int = 20) -> float:
    """Count rows, an attempt for each; return what one costs. The clock of the loop ticks in ms."""
    reply = Reply(text="x", finish_reason="stop", model="m", usage=Usage(100, 50), cost_usd=0.001)
    row = Row(index=0, request=request(0), user="anna")

    def count(number: int) -> None:
        latency_s = number * 7 % longest_ms / 1_000
        waited = Waited(number * 3 % longest_ms / 1_000, 0.0)
        stats.calls_at("sim/a", "sim/model-0").add(latency_s, (reply,), None, waited)
        stats.add_outcome(Outcome(row=row, reply=reply, attempts=1, latency_s=latency_s))

    return per_time_us(count, ROWS)


def wait_us() -> float:
    """Return what it costs to tell for one call what it waited for."""
    holds = WaitCause()

    def wait(number: int) -> Waited:
        limited_s = holds.limited_s(number)
        holds.switch("rpm", number)
        holds.switch(None, number + 0.5)
        limited_s = holds.limited_s(number + 1) - limited_s
        return Waited(1 - limited_s, limited_s)

    return per_time_us(wait, ROWS)


def clocks_us() -> float:
    """Return what it costs to tell whether one write held the event loop up."""

    def read(_: int) -> None:
        for _ in range(2):
            time.monotonic()
            time.thread_time()

    return per_time_us(read, ROWS)


def main() -> None:
    """Measure and print."""
    print_machine()
    look, fast, slow = look_us(), count_rows(Stats()), count_rows(Stats(), 2_000)
    wait, clocks = wait_us(), clocks_us()
    share = look * 1e-6 / BEAT_S
    print(f"median of {ROUNDS} rounds, microseconds")
    print(f"{look:6.1f}  a look: {share:.3%} of a core ({ENDPOINTS} endpoints, {MODELS} models)")
    print(f"{fast:6.2f}  a row and its attempt in Stats, latencies up to 20 ms")
    print(f"{slow:6.2f}  a row and its attempt in Stats, latencies up to 2 s")
    print(f"{wait:6.2f}  what a call has waited for")
    print(f"{clocks:6.2f}  whether the write of a group of rows held everything up")
    print(f"{fast + wait + clocks:6.2f}  together, for a row that waits and is written alone")


if __name__ == "__main__":
    main()
