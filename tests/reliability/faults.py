"""Faults of providers (P01 to P03, P05, P08 to P10), and how exact, fast and wide the balance is.

`python -m tests.reliability.faults [CASE ...]` prints a table. What waits runs on a virtual clock
with the real pool, balance and limits over a scripted provider; what is about sockets runs the
tool itself against servers on loopback, whose ledger is the judge.
"""

import asyncio
import logging
import random
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from llmscale.balance.endpoint import Endpoint
from llmscale.balance.pool import Pool
from llmscale.balance.retrying import Balanced, RetryPolicy
from llmscale.balance.strategies import strategy
from llmscale.balance.window import Window
from llmscale.cost import Prices
from llmscale.errors import CallFailed
from llmscale.limits import Limits
from llmscale.records import Failure, FailureKind, Reply, Request, Usage
from llmscale.stats import Stats
from tests.benchmarks.jobs import MODEL, judge, read_lines, write_prompts
from tests.cli.tool import Run, llmscale
from tests.reliability.figures import Figure, run_cases
from tests.reliability.ledger import Entry, LedgerReader
from tests.servers.chat import ChatServer, Step, chat_process
from tests.virtual_time import now_s, virtually

REQUEST = Request(model="sim/m", messages=[{"role": "user", "content": "x" * 400}])
T = TypeVar("T")


class Scripted:
    """A provider that answers after `latency_s`, or with what `fault` says at that moment."""

    quota = None

    def __init__(
        self,
        latency_s: float,
        fault: Callable[[float], tuple[float, Failure] | None] = lambda _: None,
        output_tokens: Callable[[], int] = lambda: 100,
    ) -> None:
        self.arrived_s: list[float] = []
        self.failed_s: list[float] = []
        self._latency_s = latency_s
        self._fault = fault
        self._output_tokens = output_tokens

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer, or fail after the seconds that the fault takes."""
        self.arrived_s.append(now_s())
        usage = Usage(100, self._output_tokens())
        fault = self.refusal(usage) or self._fault(now_s())
        if fault is not None:
            self.failed_s.append(now_s())
            await asyncio.sleep(fault[0])
            raise CallFailed(fault[1])
        await asyncio.sleep(self._latency_s)
        return [Reply(text="x", finish_reason="stop", model="m", usage=usage) for _ in requests]

    def refusal(self, usage: Usage) -> tuple[float, Failure] | None:
        """Say whether a limit refuses the call."""
        del usage
        return None

    async def aclose(self) -> None:
        """Hold nothing."""


def failure(kind: FailureKind, retry_after_s: float | None = None) -> Failure:
    """Return a failure that is worth another try."""
    return Failure(kind=kind, message="scripted", retryable=True, retry_after_s=retry_after_s)


class WindowLimited(Scripted):
    """Refuses what is above its limits in the last 60 s, to the call and to the token."""

    rpm = 0
    tpm = 0
    tokens_let_in = 0

    def refusal(self, usage: Usage) -> tuple[float, Failure] | None:
        """Count what was let in; a refused call counts for nothing."""
        window = self.__dict__.setdefault("window", deque())
        while window and window[0][0] <= now_s() - 60:
            window.popleft()
        tokens = usage.input_tokens + usage.output_tokens
        if len(window) >= self.rpm or sum(t for _, t in window) + tokens > self.tpm:
            return 0.01, failure("rate_limited", 1.0)
        window.append((now_s(), tokens))
        self.tokens_let_in += tokens
        return None


class RateLimited(Scripted):
    """Lets `rate` calls a second in, and one second's worth at once; names the wait otherwise."""

    rate = 10.0
    _room = rate
    _seen_s = 0.0

    def refusal(self, usage: Usage) -> tuple[float, Failure] | None:
        """Refill and take one."""
        self._room = min(self.rate, self._room + (now_s() - self._seen_s) * self.rate)
        self._seen_s = now_s()
        if self._room < 1:
            return 0.01, failure("rate_limited", (1 - self._room) / self.rate)
        self._room -= 1
        return None


class Bench:
    """Real endpoints, pool and balance over scripted providers."""

    def __init__(
        self, providers: Sequence[Scripted], capacities: Sequence[int], limits: Limits | None = None
    ) -> None:
        free = Prices(is_listed=False)
        pairs = zip(providers, capacities, strict=True)
        endpoints = [
            Endpoint(f"e{i}", p, c, free, limits, window=Window(c))
            for i, (p, c) in enumerate(pairs)
        ]
        pool = Pool(endpoints, strategy("least-loaded", "sim/m", random.Random(1)))
        policy = RetryPolicy(timeout_s=60)
        self.balanced = Balanced(lambda _: pool, policy, Stats(), random.Random(1))
        self.failed = 0

    async def work(self, width: int, rows: int = sys.maxsize, until_s: float = 1e9) -> None:
        """Send that many rows, at most `width` at a time, or for so long."""
        left = iter(range(rows))

        async def worker() -> None:
            while now_s() < until_s and next(left, None) is not None:
                try:
                    await self.balanced.send((REQUEST,))
                except CallFailed:
                    self.failed += 1

        tasks = [asyncio.create_task(worker()) for _ in range(width)]
        _, late = await asyncio.wait(tasks, timeout=None if until_s == 1e9 else until_s - now_s())
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def accuracy(rpm: int, tpm: int, width: int = 64) -> Figure:
    """An always hungry client set to exactly the server's limits, for three minutes."""
    dice = random.Random(1)
    binds = "RPM" if rpm * 200 < tpm else "TPM"

    async def play() -> Figure:
        server = WindowLimited(2.0, output_tokens=lambda: dice.randint(50, 150))
        server.rpm, server.tpm = rpm, tpm
        await Bench([server], [width], Limits(rpm, tpm)).work(width, until_s=180)
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
        bench = Bench([server], [64], Limits(factor * limit_per_s * 60, None))
        await bench.work(64, until_s=120)
        arrived = sum(at > 20 for at in server.arrived_s)
        refused = sum(at > 20 for at in server.failed_s)
        share = (arrived - refused) / (limit_per_s * 100)
        refusals = refused / arrived
        value = f"{share:.1%} of limit, {refusals:.1%} refused, {bench.failed} rows lost"
        met = share >= 0.95 and refusals <= 0.02
        return Figure("P02", "client 4x too high", arrived, refused, value, ">= 95 %, <= 2 %", met)

    return virtually(play)


def most_within(times_s: Sequence[float], seconds: float) -> int:
    """Return the most that any window of so many seconds holds."""
    most = first = 0
    for last, at_s in enumerate(times_s):
        while times_s[first] < at_s - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def p03(width: int = 64, latency_s: float = 1.0) -> Figure:
    """At 5 s all 64 in flight get 429 and are to come back in 10 s; who arrives when?"""
    refusing_s, retry_s = (5.0, 5.5), 10.0

    def fault(at_s: float) -> tuple[float, Failure] | None:
        refused = refusing_s[0] - latency_s < at_s <= refusing_s[1]
        return (5.5 - at_s, failure("rate_limited", retry_s)) if refused else None

    async def play() -> Figure:
        server = Scripted(latency_s, fault)
        await Bench([server], [64]).work(width, until_s=40)
        rest_s = (5.5, 5.5 + retry_s)
        early = sum(rest_s[0] < at < rest_s[1] - 1e-6 for at in server.arrived_s)
        most = most_within([at for at in server.arrived_s if at >= rest_s[1] - 1e-6], 0.05)
        fair = 64 / latency_s * 0.05
        value = f"{early} early, {most / fair:.1f}x the fair share in 50 ms"
        met = early == 0 and most <= 2 * fair
        what = f"{width} rows, calls of {latency_s:g} s"
        return Figure("P03", what, len(server.failed_s), early, value, "0, <= 2x", met)

    return virtually(play)


def p08_virtual(*, flapping: bool) -> Figure:
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


def p09_virtual(rows: int = 5_000) -> Figure:
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
        for limits in (None, Limits(1e9, 1e12)):
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


def _run(folder: Path, *options: object) -> Run:
    return llmscale("run", "prompts.jsonl", "-o", "out.jsonl", "--quiet", *options, cwd=folder)


def _unclassified(folder: Path, rows: int) -> int:
    """Return the rows without one line that is a right answer or a classified failure."""
    verdict = judge(folder / "out.jsonl", rows)
    lines = list(read_lines(folder / "out.jsonl"))
    unclassified = sum(line["output"] is None and not line["error"] for line in lines)
    return rows - len(lines) + unclassified + verdict.wrong + verdict.duplicated


def _unanswered(folder: Path, rows: int) -> int:
    """Return the rows without one line that is a right answer."""
    verdict = judge(folder / "out.jsonl", rows)
    return verdict.lost + verdict.wrong + verdict.duplicated


def p01(rows: int = 5_000) -> Figure:
    """A tenth of all calls fails, in eight ways."""
    kinds = ("429", "500", "502", "503", "529", "reset", "hang", "cut")
    faults = ",".join(f"{kind}:0.0125" for kind in kinds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / "prompts.jsonl", rows)
        options = ("--ledger", folder / "ledger", "--faults", faults, "--latency", 0.01)
        with chat_process(*options) as base_url:
            to = ("--model", f"openai/{MODEL}", "--base-url", base_url)
            _run(folder, *to, "--timeout", 0.5, "--concurrency", 64)
        calls = sum(entry.event == "arrived" for entry in LedgerReader(folder / "ledger").read())
        missing = _unclassified(folder, rows)
    value = f"{calls / rows:.3f} calls a row"
    met = missing == 0 and calls <= 1.15 * rows
    return Figure("P01", "10 % of eight faults", rows, missing, value, "0, <= 1.15", met)


class Outage(ChatServer):
    """Answers 503 while it is out."""

    out = False
    calls_when_out = 0

    def _next_step(self, *, answerable: bool) -> Step:
        if not self.out:
            return super()._next_step(answerable=answerable)
        self.calls_when_out += 1
        return Step(status=503)


def _with_servers(
    servers: Sequence[ChatServer],
    rows: int,
    options: Sequence[object],
    meanwhile: Callable[[], Coroutine[object, object, None]] | None = None,
    count: Callable[[Path, int], int] = _unanswered,
) -> int:
    """Run the tool against servers in this process; return what `count` finds in its folder."""

    async def play(folder: Path) -> None:
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            tables = [
                f'[[endpoint]]\nmodel = "openai/{MODEL}"\nbase_url = "{s.base_url}"\n'
                for s in servers
            ]
            (folder / "llmscale.toml").write_text("".join(tables))
            beside = [asyncio.create_task(meanwhile())] if meanwhile else []
            await asyncio.to_thread(_run, folder, *options)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / "prompts.jsonl", rows)
        with asyncio.Runner() as runner:
            runner.run(play(folder))
        return count(folder, rows)


SILENCES = {
    "no answer": Step(hang=True),
    "headers, then silence": Step(hang=True, cut_after=0),
    "a byte a second": Step(trickle_s=1.0),
}


def p05(kind: str, rows: int = 40, timeout_s: float = 1.0) -> Figure:
    """Silent in one of three ways; the ledger says when the client let go."""
    with tempfile.TemporaryDirectory() as name:
        ledger = Path(name) / "ledger"
        server = ChatServer(ledger=ledger)
        server.script([SILENCES[kind]] * rows)
        options = ("--timeout", timeout_s, "--max-attempts", 1, "--concurrency", 20)
        missing = _with_servers([server], rows, options, count=_unclassified)
        entries = [Timed.of(line) for line in read_lines(ledger)]
    lasted_s = durations(entries)
    late = sum(seconds > timeout_s + 0.25 for seconds in lasted_s) + rows - len(lasted_s)
    value = f"longest {max(lasted_s) - timeout_s:+.3f} s of the deadline"
    met = late == 0 and missing == 0
    return Figure("P05", kind, rows, late, value, "<= +0.250 s", met)


@dataclass(frozen=True, slots=True)
class Timed:
    """A line of the ledger with its time."""

    entry: Entry
    time_s: float

    @classmethod
    def of(cls, line: dict[str, object]) -> "Timed":
        """Read one."""
        time_at = line["time_s"]
        assert isinstance(time_at, float)
        return cls(msgspec.convert(line, Entry), time_at)


def durations(entries: Sequence[Timed]) -> list[float]:
    """Return how long each call was open that was not answered."""
    began_s = {e.entry.call: e.time_s for e in entries if e.entry.event == "arrived"}
    ended = [e for e in entries if e.entry.event == "ended" and not e.entry.answered]
    return [e.time_s - began_s[e.entry.call] for e in ended]


def p08(rows: int = 2_000, *, flapping: bool = False, out_s: float = 6.0) -> Figure:
    """The tool, while its only server answers 503: for six seconds, or on and off."""
    server = Outage(latency_s=0.02, keep_requests=True)

    async def break_down() -> None:
        while len(server.requests) < rows / 4:
            await asyncio.sleep(0.01)
        for _ in range(3 if flapping else 1):
            server.out = True
            await asyncio.sleep(out_s / 3 if flapping else out_s)
            server.out = False
            await asyncio.sleep(0.5)

    missing = _with_servers(
        [server],
        rows,
        ("--concurrency", 16),
        break_down,
    )
    value = f"{missing} lost, {server.calls_when_out} calls failed"
    bound = 120 if flapping else 40
    met = missing == 0 and server.calls_when_out <= bound
    what = "the tool, flapping" if flapping else "the tool, 6 s out"
    return Figure("P08", what, rows, missing, value, f"0 lost, <= {bound} failed", met)


def p09(rows: int = 5_000) -> Figure:
    """The tool with three servers, one of which answers 500 in 10 ms."""
    sick = ChatServer(latency_s=0.01, faults="500:1.0")
    well = [ChatServer(latency_s=0.1) for _ in range(2)]
    missing = _with_servers(
        [sick, *well],
        rows,
        ("--concurrency", 64),
    )
    share = len(sick.requests) / (rows + len(sick.requests))
    value = f"{share:.2%} of calls failed, {missing} rows lost"
    return Figure("P09", "the tool", rows, missing, value, "<= 1 %", share <= 0.01 and not missing)


def wide(rows: int = 20_000, in_flight: int = 2_000, latency_s: float = 0.5) -> Figure:
    """The tool with very many calls in flight, from its start to its end."""
    ideal_s = rows * latency_s / in_flight
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / "prompts.jsonl", rows)
        with chat_process("--latency", latency_s) as base_url:
            to = ("--model", f"openai/{MODEL}", "--base-url", base_url)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began_s = time.monotonic()
            _run(folder, *to, "--concurrency", in_flight)
            wall_s = time.monotonic() - began_s
            after = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the tool: the server is alive
        missing = _unanswered(folder, rows)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    share = ideal_s / wall_s
    row_us = cpu_s / rows * 1e6
    value = f"{share:.2f} of ideal, {row_us:.0f} us CPU a row, {cpu_s / wall_s:.0%} busy"
    what = f"{in_flight:,} in flight of {latency_s:g} s"
    return Figure("wide", what, rows, missing, value, ">= 0.90", share >= 0.9 and not missing)


CASES: dict[str, list[Callable[[], Figure]]] = {
    "limits": [
        partial(accuracy, 500, 10**9),
        partial(accuracy, 500, 100_000),
        partial(accuracy, 10_000, 100_000),
        partial(accuracy, 10_000, 5_000),
        partial(accuracy, 60, 10**9),
    ],
    "P01": [p01],
    "P02": [p02],
    "P03": [p03, partial(p03, width=200), partial(p03, latency_s=0.2), partial(p03, latency_s=4.0)],
    "P05": [partial(p05, kind) for kind in SILENCES],
    "P08": [
        partial(p08_virtual, flapping=False),
        partial(p08_virtual, flapping=True),
        p08,
        partial(p08, flapping=True),
    ],
    "P09": [p09_virtual, p09],
    "P10": [p10],
    "makespan": [makespan],
    "cost": [cost],
    "wide": [wide],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    logging.getLogger("llmscale").setLevel(logging.ERROR)
    run_cases("tests.reliability.faults", CASES)


if __name__ == "__main__":
    main()
