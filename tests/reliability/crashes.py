"""Kills at certain points of the code (C02), and kills in one resume after the other (C03).

`python -m tests.reliability.crashes [CASE ...]` prints a table. Each kill hits the tool as a
process of its own; the server's ledger tells what was asked again.
"""

import re
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import orjson

from tests.reliability.failpoints import POINTS
from tests.reliability.figures import Figure, run_cases
from tests.reliability.kills import Campaign
from tests.reliability.ledger import Reservation, arrivals, in_flight, key_of_row
from tests.reliability.watched import WatchedJob, jobs_at_a_server

CACHE = ("--cache", "on", "--cache-dir", "cache")
ONCE_A_RUN = ("before the final rename", "after the final rename")
IN_GROUPS = ("stored, not written", "written, not stored", "middle of a line")
WIDTH = 8
LATENCY_S = 0.1  # longer than it takes to have sent
ANSWER = re.compile(rb'"text":"A:([0-9a-f]{16})"')


@dataclass
class Tally:
    """What a number of kills has come to."""

    again: int = 0  # calls beyond the first of a row
    in_flight: int = 0
    safe: int = 0  # rows whose answer outlived the kill
    safe_again: int = 0
    bad: int = 0

    def add(self, job: WatchedJob, point: str, nth: int) -> None:
        """Kill a job when it gets to `point` for the n-th time, resume it, count."""
        in_flight_now = _killed_at(job, point, nth)
        safe = safe_in(job)
        asked, own_count = _resumed(job)
        again = Reservation.of(job.entries).asked_again
        safe_again = len(safe & asked)
        self.bad += job.wrong() + max(0, again - min(in_flight_now, own_count)) + safe_again
        self.again += again
        self.in_flight += in_flight_now
        self.safe += len(safe)
        self.safe_again += safe_again


def c02(point: str, kills: int, rows: int = 32, seed: int = 1) -> Figure:
    """Kill a new job each time, at a random one of the times that it gets to `point`."""
    rng = Random(f"{seed} {point}")
    tally = Tally()
    with jobs_at_a_server("--latency", LATENCY_S) as make:
        for _ in range(kills):
            job = make(rows, *CACHE, "--concurrency", WIDTH)
            tally.add(job, point, rng.randint(1, _passes(point, rows)))
    value = f"{tally.again} again, {tally.in_flight} in flight; "
    value += f"{tally.safe_again} of {tally.safe} safe"
    return Figure("C02", point, kills, tally.bad, value, "<= in flight, 0 safe", tally.bad == 0)


def _passes(point: str, rows: int) -> int:
    """Return how often a run gets to a point at least."""
    if point in ONCE_A_RUN:
        return 1
    return rows // WIDTH if point in IN_GROUPS else rows


def _killed_at(job: WatchedJob, point: str, nth: int) -> int:
    """Return the calls in flight at the kill."""
    running = job.start(program=("tests.reliability.failpoints", point, str(nth)))
    if (code := job.end(running)) != -signal.SIGKILL:
        job.complaints.append(f"not killed at {point} {nth}: exit code {code}, {running.said}")
    return in_flight(job.news()).calls


def _resumed(job: WatchedJob) -> tuple[set[str], int]:
    """Let a job end; return what it asked, and the tool's own count of what it paid for again."""
    code, said = job.run()
    asked = set(arrivals(job.news()))
    if code:
        job.complaints.append(f"resumed with exit code {code}: {said}")
    return asked, 0 if code else job.max_repeated_calls()


def c03(jobs: int = 10, depth: int = 5, rows: int = 200, seed: int = 1) -> Figure:
    """Kill a run and so many resumes; what is safe by then is never asked again."""
    rng = Random(seed)
    latency_s = LATENCY_S / 5
    kills = again = wrong = safe = 0
    with jobs_at_a_server("--latency", latency_s) as make:
        for _ in range(jobs):
            job = make(rows, *CACHE, "--concurrency", WIDTH)
            campaign = Campaign(job)
            for _ in range(depth + 1):
                calls = rng.randint(WIDTH, rows // (depth + 2))
                pause_s = rng.random() * latency_s
                again += _safe_again(campaign, job, partial(campaign.kill_after, calls, pause_s))
            safe += len(safe_in(job))
            again += _safe_again(campaign, job, campaign.finish)
            wrong += job.wrong()
            kills += len(campaign.kills)
    value = f"{again} asked again of {safe:,} safe at the last kill"
    bad = again + wrong
    return Figure("C03", f"kills, {depth} resumes deep", kills, bad, value, "0", bad == 0)


def _safe_again(campaign: Campaign, job: WatchedJob, run: Callable[[], object]) -> int:
    """Return how many rows a run asks whose answer was safe before."""
    safe = safe_in(job)
    run()
    return len(safe.intersection(arrivals(campaign.last)))


def safe_in(job: WatchedJob) -> set[str]:
    """Return the keys of the rows whose answer is in the cache, in the partial output, or out."""
    return stored_in(job.folder / "cache") | finished_in(job.partial) | finished_in(job.output)


def finished_in(output: Path) -> set[str]:
    """Return the keys of the rows that have an answer in a file that may be torn."""
    if not output.exists():
        return set()
    whole = output.read_bytes().rpartition(b"\n")[0].splitlines()
    lines = map(orjson.loads, whole)
    return {key_of_row(line["index"]) for line in lines if line["output"] is not None}


def stored_in(cache: Path) -> set[str]:
    """Return the keys that the answers in a cache tell of, whatever the tool makes of them.

    It looks at a copy, since whoever opens a database that was left behind mends it.
    """
    if not (cache / "cache.db").exists():
        return set()
    with tempfile.TemporaryDirectory() as name:
        copy = shutil.copytree(cache, Path(name) / "cache")
        with closing(sqlite3.connect(copy / "cache.db")) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'Cache'")
            if tables.fetchone() is None:
                return set()
            values = database.execute("SELECT value FROM Cache").fetchall()
    return {found[1].decode() for (value,) in values for found in [ANSWER.search(value)] if found}


CASES: dict[str, list[Callable[[], Figure]]] = {
    "C02": [
        *(partial(c02, point, 15) for point in POINTS),
    ],
    "C03": [c03],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.crashes", CASES)


if __name__ == "__main__":
    main()
