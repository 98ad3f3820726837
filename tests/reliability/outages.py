"""Endpoints that fail, flap or dawdle, and the tool itself against them (P01, P08 to P10)."""

import asyncio
import math
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.jobs import MODEL, write_prompts
from tests.reliability.against_servers import (
    DecidingServer,
    new_folder,
    run,
    to_servers,
    unanswered,
    unclassified,
    while_serving,
)
from tests.reliability.calls import LedgerCall, calls_in
from tests.reliability.figures import Figure
from tests.servers.chat import ChatServer, Step, chat_process

GRACE_S = 0.5  # of a machine that does other things too
EIGHT_FAULTS = ("429", "500", "502", "503", "529", "reset", "hang", "cut")


def p01(rows: int = 5_000) -> Figure:
    """A tenth of all calls fails, in eight ways."""
    faults = ",".join(f"{kind}:{0.1 / len(EIGHT_FAULTS)}" for kind in EIGHT_FAULTS)
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        options = ("--latency", 0.02, "--seed", 1, "--ledger", folder / "ledger")
        with chat_process("--faults", faults, *options) as base_url:
            to = ("--model", f"openai/{MODEL}", "--base-url", base_url)
            run(folder, *to, "--timeout", 0.5, "--concurrency", 64)
        calls = len(calls_in(folder / "ledger"))
        missing = unclassified(folder, rows)
    value = f"{calls / rows:.3f} calls a row"
    met = missing == 0 and calls <= 1.15 * rows
    return Figure("P01", "10 % of eight faults", rows, missing, value, "0, <= 1.15", met)


def _answered_by(
    folder: Path, servers: Sequence[ChatServer], rows: int, *options: object, settings: str = ""
) -> int:
    """Have the job answered by these servers, which are up; return the rows without an answer."""
    write_prompts(folder / "prompts.jsonl", rows)
    to_servers(folder, [server.base_url for server in servers], settings)
    run(folder, *options)
    return unanswered(folder, rows)


class Outage:
    """Answers 503 while it is out."""

    def __init__(self) -> None:
        self.is_out = False
        self.failed_calls = 0
        self.back_s = 0.0  # when it was last back, on the clock of the ledger

    def decide(self, _call: int, _prompt: str) -> Step | None:
        """Refuse while it is out."""
        if not self.is_out:
            return None
        self.failed_calls += 1
        return Step(status=503)

    async def last(self, out_s: float) -> None:
        """Be out for so long."""
        self.is_out = True
        await asyncio.sleep(out_s)
        self.is_out = False
        self.back_s = time.time()


def p08(rows: int = 2_000, *, flapping: bool = False, out_s: float = 6.0) -> Figure:
    """Its only server answers 503: for a few seconds, or on and off.

    Probes go out after rests of 1, 2, 4, ... s, so the next one is due within the last of those
    that the outage has taken.
    """
    outage = Outage()
    with new_folder() as folder:
        server = DecidingServer(outage.decide, latency_s=0.02, ledger=folder / "ledger")

        async def break_down() -> None:
            while len(server.requests) < rows / 4:
                await asyncio.sleep(0.01)
            for _ in range(3 if flapping else 1):
                await outage.last(out_s / 3 if flapping else out_s)
                await asyncio.sleep(0.5)

        answered_by = partial(_answered_by, folder, [server], rows, "--concurrency", 16)
        missing = while_serving([server], answered_by, break_down)
        calls = calls_in(folder / "ledger")
    late_s = _first_answer_s(calls, outage.back_s) - outage.back_s
    bound = 120 if flapping else 40
    value = f"{missing} lost, {outage.failed_calls} failed, back after {late_s:.1f} s"
    cooldown_s = 2.0 ** (math.ceil(math.log2(out_s + 1)) - 1)
    met = missing == 0 and outage.failed_calls <= bound and late_s <= cooldown_s + GRACE_S
    what = f"the tool, flapping for {out_s:g} s" if flapping else f"the tool, {out_s:g} s out"
    return Figure("P08", what, rows, missing, value, f"0, <= {bound}, <= {cooldown_s:g} s", met)


def _first_answer_s(calls: Sequence[LedgerCall], since_s: float) -> float:
    """Return when the first call after a moment arrived that was answered; never: infinity."""
    answered_s = (call.arrived_s for call in calls if call.answered)
    return min((at_s for at_s in answered_s if at_s >= since_s), default=math.inf)


def p09(rows: int = 5_000) -> Figure:
    """One of three servers answers 500 in 10 ms."""
    sick = ChatServer(latency_s=0.01, faults="500:1.0")
    servers = [sick, *(ChatServer(latency_s=0.1) for _ in range(2))]
    with new_folder() as folder:
        answered_by = partial(_answered_by, folder, servers, rows, "--concurrency", 64)
        missing = while_serving(servers, answered_by)
    share = len(sick.requests) / (rows + len(sick.requests))
    value = f"{share:.2%} of calls failed, {missing} rows lost"
    return Figure("P09", "the tool", rows, missing, value, "<= 1 %", share <= 0.01 and not missing)


def p10(rows: int = 1_500, latency_s: float = 0.5) -> Figure:
    """One of three servers is ten times slower; the ledgers against a fluid that never waits."""
    with new_folder() as folder:
        latencies_s = [latency_s, latency_s, 10 * latency_s]
        ledgers = [folder / f"ledger-{number}" for number in range(3)]
        servers = [
            ChatServer(latency_s=seconds, ledger=ledger)
            for seconds, ledger in zip(latencies_s, ledgers, strict=True)
        ]
        answered_by = partial(_answered_by, folder, servers, rows, settings="capacity = 16\n")
        missing = while_serving(servers, answered_by)
        calls = calls_in(*ledgers)
    took_s = max(call.ended_s or 0.0 for call in calls) - calls[0].arrived_s
    ratio = took_s * sum(16 / seconds for seconds in latencies_s) / rows
    value = f"{ratio:.3f}x the fluid bound"
    what = f"the tool, calls of {latencies_s} s"
    return Figure("P10", what, rows, missing, value, "<= 1.3x", ratio <= 1.3 and not missing)


def wide(rows: int = 20_000, in_flight: int = 2_000, latency_s: float = 0.5) -> Figure:
    """The tool with very many calls in flight, from its start to its end."""
    ideal_s = rows * latency_s / in_flight
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        with chat_process("--latency", latency_s) as base_url:
            to = ("--model", f"openai/{MODEL}", "--base-url", base_url)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began_s = time.monotonic()
            run(folder, *to, "--concurrency", in_flight)
            wall_s = time.monotonic() - began_s
            after = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the tool: the server is alive
        missing = unanswered(folder, rows)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    share = ideal_s / wall_s
    row_us = cpu_s / rows * 1e6
    value = f"{share:.2f} of ideal, {row_us:.0f} us CPU a row, {cpu_s / wall_s:.0%} busy"
    what = f"{in_flight:,} in flight of {latency_s:g} s"
    return Figure("wide", what, rows, missing, value, ">= 0.90", share >= 0.9 and not missing)


CASES: dict[str, list[Callable[[], Figure]]] = {
    "P01": [p01],
    "P08": [p08, partial(p08, flapping=True)],
    "P09": [p09],
    "P10": [p10],
    "wide": [wide],
}
