"""Faults of providers on a virtual clock (P02, P03, P08 to P10), and how exact the balance is.

The real pool, balance and limits over a scripted provider: minutes pass in a moment, and nothing
depends on how busy the machine is. The same faults with the tool itself are in the other modules.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from llmscale.core.records import Failure, Reply, Request, Usage
from llmscale.engine.limits import RateLimits
from tests.reliability.calls import most_within
from tests.reliability.figures import Figure
from tests.reliability.scripted import REQUEST, Bench, RateLimited, Scripted, WindowLimited, failure
from tests.virtual_time import now_s, virtually


def accuracy(rpm: int, tpm: int, width: int = 64) -> Figure:
    """An always hungry client set to exactly the server's limits, for three minutes."""
    rng = random.Random(1)
    binds = "RPM" if rpm * 200 < tpm else "TPM"

    async def play() -> Figure:
        server = WindowLimited(2.0, output_tokens=lambda: rng.randint(50, 150))
        server.rpm, server.tpm = rpm, tpm
        await Bench([server], [width], RateLimits(rpm, tpm)).work(width, until_s=180)
        refused = len(server.failed_s)
        answered = len(server.arrived_s) - refused
        share = max(answered / (3 * rpm), server.tokens_let_in / (3 * tpm))
        value = f"{share:.1%} of the {binds}, {refused} refused"
        met = share >= 0.98 and not refused
        what = f"{rpm:,} RPM, {tpm:,} TPM"
        return Figure("limits", what, answered, refused, value, ">= 98 %, 0", met)

    return virtually(play)


def p02(limit_per_s: float = 10.0, factor: float = 4.0) -> Figure:
    """A server that lets through a quarter of what the client is set to; after 20 s of warm-up."""

    async def play() -> Figure:
        server = RateLimited(0.5)
        bench = Bench([server], [64], RateLimits(factor * limit_per_s * 60, None))
        await bench.work(64, until_s=120)
        arrived = sum(at > 20 for at in server.arrived_s)
        refused = sum(at > 20 for at in server.failed_s)
        share = (arrived - refused) / (limit_per_s * 100)
        refusals = refused / arrived
        value = f"{share:.1%} of limit, {refusals:.1%} refused, {bench.failed} rows lost"
        met = share >= 0.95 and refusals <= 0.02
        return Figure("P02", "client 4x too high", arrived, refused, value, ">= 95 %, <= 2 %", met)

    return virtually(play)


def p03(width: int = 64, latency_s: float = 1.0) -> Figure:
    """At 5 s all 64 in flight get 429 and are to come back in 10 s; who arrives when?"""
    refusing_s, retry_s = (5.0, 5.5), 10.0

    def fault(at_s: float) -> tuple[float, Failure] | None:
        refused = refusing_s[0] - latency_s < at_s <= refusing_s[1]
        return (5.5 - at_s, failure("rate_limited", retry_s)) if refused else None

    async def play() -> Figure:
        server = Scripted(latency_s, fault)
        await Bench([server], [64]).work(width, until_s=40)
        cooldown_s = (5.5, 5.5 + retry_s)
        early = sum(cooldown_s[0] < at < cooldown_s[1] - 1e-6 for at in server.arrived_s)
        most = most_within([at for at in server.arrived_s if at >= cooldown_s[1] - 1e-6], 0.05)
        fair = 64 / latency_s * 0.05
        value = f"{early} early, {most / fair:.1f}x the fair share in 50 ms"
        met = early == 0 and most <= 2 * fair
        what = f"{width} rows, calls of {latency_s:g} s"
        return Figure("P03", what, len(server.failed_s), early, value, "0, <= 2x", met)

    return virtually(play)


def p08(*, flapping: bool) -> Figure:
    """An outage from 10 s to 70 s, whole or for every other three seconds; nothing is lost."""

    def is_out(at_s: float) -> bool:
        return 10 <= at_s < 70 and not (flapping and at_s % 6 < 3)

    async def play() -> Figure:
        server = Scripted(1.0, lambda at_s: (0.01, failure("overloaded")) if is_out(at_s) else None)
        bench = Bench([server], [20])
        await bench.work(20, rows=1_000)
        failed = len(server.failed_s)
        value = f"{bench.failed} lost, {failed} calls failed, done at {now_s():.0f} s"
        # a herd of 20, seven more until it rests, and a probe after each of six rests
        met = bench.failed == 0 and failed <= (200 if flapping else 40)
        what = "flapping" if flapping else "a minute's outage"
        goal = "0 lost, <= 200 failed" if flapping else "0 lost, <= 40 failed"
        return Figure("P08", what, 1_000, bench.failed, value, goal, met)

    return virtually(play)


def p09(rows: int = 5_000) -> Figure:
    """One of three endpoints fails in 10 ms, always."""

    async def play() -> Figure:
        sick = Scripted(1.0, lambda _: (0.01, failure("server_error")))
        bench = Bench([sick, Scripted(1.0), Scripted(1.0)], [64] * 3)
        await bench.work(64, rows)
        failed = len(sick.failed_s)
        share = failed / (rows + failed)
        value = f"{share:.2%} of calls failed, {bench.failed} rows lost"
        return Figure("P09", "virtual", rows, bench.failed, value, "<= 1 %", share <= 0.01)

    return virtually(play)


def _makespan(
    case: str, capacities: list[int], latencies_s: list[float], rows: int, goal: float
) -> Figure:
    """Hold the time for all rows against that of a fluid that never waits."""

    async def play() -> Figure:
        bench = Bench([Scripted(latency_s) for latency_s in latencies_s], capacities)
        await bench.work(sum(capacities), rows)
        rates = [c / s for c, s in zip(capacities, latencies_s, strict=True)]
        ratio = now_s() * sum(rates) / rows
        what = f"{capacities} calls of {[round(s) for s in latencies_s]} s"
        value = f"{ratio:.3f}x the fluid bound"
        return Figure(case, what, rows, bench.failed, value, f"<= {goal:g}x", ratio <= goal)

    return virtually(play)


def p10(rows: int = 2_000) -> Figure:
    """One endpoint ten times slower."""
    return _makespan("P10", [16, 16, 16], [1.0, 1.0, 10.0], rows, 1.3)


def makespan(rows: int = 4_000) -> Figure:
    """Capacity 1:2:5 and latency 1:1:3."""
    return _makespan("makespan", [10, 20, 50], [1.0, 1.0, 3.0], rows, 1.08)


class _Instant(Scripted):
    """Answers without a wait."""

    def __init__(self) -> None:
        super().__init__(0)
        self._replies = [Reply(text="x", finish_reason="stop", model="m", usage=Usage(100, 100))]

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer at once."""
        return self._replies


def cost(rows: int = 20_000) -> Figure:
    """CPU per row of balance and limits over that of the provider alone; the best of three."""

    async def spent_us(send: Callable[[Sequence[Request]], Awaitable[object]]) -> float:
        began_s = time.process_time()
        for _ in range(rows):
            await send((REQUEST,))
        return (time.process_time() - began_s) / rows * 1e6

    async def play() -> Figure:
        bare_us = min([await spent_us(_Instant().send) for _ in range(3)])
        added_us = []
        for limits in (None, RateLimits(1e9, 1e12)):
            bench = Bench([_Instant() for _ in range(3)], [64] * 3, limits)
            best_us = min([await spent_us(bench.balanced.send) for _ in range(3)])
            added_us.append(best_us - bare_us)
        balance_us, both_us = added_us
        value = f"{balance_us:.0f} us balance, {both_us - balance_us:.0f} us limits"
        return Figure(
            "cost", "CPU per row, 3 endpoints", rows, 0, value, "<= 100 us", both_us <= 100
        )

    with asyncio.Runner() as runner:
        return runner.run(play())


CASES: dict[str, list[Callable[[], Figure]]] = {
    "limits": [
        partial(accuracy, 500, 10**9),
        partial(accuracy, 500, 100_000),
        partial(accuracy, 10_000, 100_000),
        partial(accuracy, 10_000, 5_000),
        partial(accuracy, 60, 10**9),
    ],
    "P02": [p02],
    "P03": [p03, partial(p03, width=200), partial(p03, latency_s=0.2), partial(p03, latency_s=4.0)],
    "P08": [partial(p08, flapping=False), partial(p08, flapping=True)],
    "P09": [p09],
    "P10": [p10],
    "makespan": [makespan],
    "cost": [cost],
}
