"""K01: 64 rows that ask the same at once, while the call that is to answer them all goes wrong.

`python -m tests.reliability.identical [CASE ...]` prints a table. One call, and one more for each
that failed, by the server's ledger; no row waits for ever.
"""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import orjson

from tests.benchmarks.jobs import prompt, read_lines, right_answer
from tests.reliability.figures import Figure, run_cases
from tests.reliability.ledger import LedgerReader, Served, arrivals
from tests.reliability.watched import WatchedJob, misplaced
from tests.servers.chat import ChatServer, Step

ROWS = 64
CACHE = ("--cache", "on", "--cache-dir", "cache", "--concurrency", ROWS)
IMPATIENT = ("--timeout", 0.4, "--max-attempts", 1)
LATENCY_S = 0.05  # all rows are waiting by then

LEADERS = {
    "answers": (),
    "fails": (Step(status=500), Step(reset=True), Step(cut_after=20)),
    "is refused": (Step(status=400), Step(status=422)),
    "times out": (Step(hang=True), Step(hang=True)),
}


def leader(what: str, jobs: int = 10) -> Figure:
    """The first calls go wrong, each takes its row along, and the next row asks."""
    steps = LEADERS[what]
    return _figure(f"the leader {what}", jobs, partial(_led, steps), 1 + len(steps))


def _led(steps: Sequence[Step], server: ChatServer, job: WatchedJob) -> int:
    """Return how much is wrong with a run in which the first calls go so."""
    server.script(steps)
    code, said = job.run(*(IMPATIENT if steps else ()))
    lines = list(read_lines(job.output))
    failed = sum(line["error"] is not None for line in lines)
    right = sum(line["output"] == right_answer(0) for line in lines)
    bad: int = (code != bool(steps)) + (failed != len(steps)) + ROWS - failed - right
    if bad:
        print(f"exit code {code}, {failed} failed, {right} right, it said {said}", file=sys.stderr)
    return bad


def cancelled(jobs: int = 10) -> Figure:
    """The call that all wait for is given up by a second Ctrl-C; the next run makes it again."""
    return _figure("the leader is cancelled", jobs, _cancelled, 2)


def _cancelled(server: ChatServer, job: WatchedJob) -> int:
    server.script([Step(hang=True)])
    running = job.start()
    running.until(lambda: server.requests)
    running.process.send_signal(signal.SIGINT)
    is_draining = running.until(lambda: "draining" in running.said)
    running.process.send_signal(signal.SIGINT)
    is_stopped = is_draining and job.end(running) == 128 + signal.SIGINT
    return (not is_stopped) + _led((), server, job)


def _figure(
    what: str, jobs: int, play: Callable[[ChatServer, WatchedJob], int], calls_each: int
) -> Figure:
    """Play a number of jobs, each against a server in this process, and count their calls."""
    bad = calls = 0
    for _ in range(jobs):
        job_bad, job_calls = asyncio.run(_played(play))
        bad += job_bad + abs(job_calls - calls_each)
        calls += job_calls
    value = f"{calls / jobs:g} calls for {ROWS} rows"
    return Figure("K01", what, jobs * ROWS, bad, value, f"{calls_each}, none hangs", bad == 0)


async def _played(play: Callable[[ChatServer, WatchedJob], int]) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as name:
        ledger = Path(name) / "ledger"
        async with ChatServer(latency_s=LATENCY_S, ledger=ledger) as server:
            served = Served(server.base_url, LedgerReader(ledger))
            job = WatchedJob(Path(name).resolve() / "job", ROWS, served, CACHE)
            row = orjson.dumps({"prompt": prompt(0)}, option=orjson.OPT_APPEND_NEWLINE)
            (job.folder / "prompts.jsonl").write_bytes(row * ROWS)
            bad = await asyncio.to_thread(play, server, job)
        calls = len(arrivals(job.news()))
        complaints = job.complaints + misplaced(job.folder)
    return bad + len(complaints), calls


CASES: dict[str, list[Callable[[], Figure]]] = {
    "leader": [partial(leader, what) for what in LEADERS],
    "cancelled": [cancelled],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.identical", CASES)


if __name__ == "__main__":
    main()
