"""C04: Ctrl-C and SIGTERM at half, Ctrl-C twice, and a reader of standard output that goes away.

`python -m tests.reliability.stopping [CASE ...]` prints a table. When the last call arrived after
the stop is judged by the clock of the server's ledger.
"""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from tests.benchmarks.jobs import right_answer
from tests.reliability.figures import Figure, run_cases
from tests.reliability.ledger import Entry, Reservation
from tests.reliability.watched import Running, WatchedJob, jobs_at_a_server

WIDTH = 16
LATENCY_S = 0.05
STOPS_WITHIN_S = 0.1
HUNG_S = 30.0  # an answer that takes so long is given up on the second signal


@dataclass
class Stops:
    """What a number of stops has come to."""

    late: int = 0  # calls
    again: int = 0  # calls beyond the first of a row
    latest_s: float = 0.0
    bad: int = 0

    def add(self, job: WatchedJob, stopped_s: float, patience_s: float) -> None:
        """Count the calls that arrived too long after a stop, and whether too many did at all."""
        after_s = [e.time_s - stopped_s for e in job.entries if e.event == "arrived"]
        self.late += sum(seconds > patience_s for seconds in after_s)
        self.bad += sum(seconds > 0 for seconds in after_s) > 2 * WIDTH
        self.latest_s = max(self.latest_s, *after_s)
        self.bad += len(job.complaints)

    def figure(self, what: str, n: int, patience_s: float) -> Figure:
        """Return the line of the table."""
        bad = self.bad + self.late
        after = f"last call {max(0.0, self.latest_s) * 1e3:.0f} ms after"
        value = f"{after}, {self.again} asked again"
        return Figure("C04", what, n, bad, value, f"<= {patience_s * 1e3:.0f} ms, 0", bad == 0)


def signalled(
    number: signal.Signals, stops: int = 20, rows: int = 200, patience_s: float = STOPS_WITHIN_S
) -> Figure:
    """One signal at half: answers on their way are waited for, so that none is paid for again."""
    found = Stops()
    with jobs_at_a_server("--latency", LATENCY_S, "--jitter", LATENCY_S) as make:
        for _ in range(stops):
            job = make(rows, "--cache", "off", "--concurrency", WIDTH)
            running = job.start()
            running.until(partial(job.has_asked, rows // 2))
            stopped_s = time.time()
            running.process.send_signal(number)
            found.bad += _ended_badly(job, running, 128 + number)
            job.news()
            found.add(job, stopped_s, patience_s)
            found.bad += len(_answered(job.entries) ^ _written(job)) + (job.run()[0] != 0)
            job.news()
            again = Reservation.of(job.entries).asked_again
            found.again += again
            found.bad += job.wrong() + again
    return found.figure(number.name, stops, patience_s)


def signalled_twice(stops: int = 20, rows: int = 100, patience_s: float = STOPS_WITHIN_S) -> Figure:
    """Twice, while answers are not to be expected: they are given up, and asked again."""
    found = Stops()
    with jobs_at_a_server("--latency", LATENCY_S, "--faults", "hang:0.2") as make:
        for _ in range(stops):
            job = make(rows, "--cache", "off", "--concurrency", WIDTH, "--timeout", HUNG_S)
            running = job.start()
            running.until(partial(job.has_asked, WIDTH))
            stopped_s = time.time()
            running.process.send_signal(signal.SIGINT)
            found.bad += not running.until(partial(_is_draining, running))
            running.process.send_signal(signal.SIGINT)
            began_s = time.monotonic()
            found.bad += _ended_badly(job, running, 128 + signal.SIGINT)
            found.bad += time.monotonic() - began_s > HUNG_S / 3
            job.news()
            found.add(job, stopped_s, patience_s)
            found.bad += len(_written(job) - _answered(job.entries))
    return found.figure("SIGINT twice, a fifth hangs", stops, patience_s)


def closed_pipe(
    stops: int = 20, rows: int = 400, lines: int = 50, patience_s: float = STOPS_WITHIN_S
) -> Figure:
    """`llmscale run -o - | head`: what was read is right, and nothing is sent for nobody."""
    found = Stops()
    with jobs_at_a_server("--latency", LATENCY_S, "--jitter", LATENCY_S) as make:
        for _ in range(stops):
            job = make(rows, "--cache", "off", "--concurrency", WIDTH)
            running = job.start("-o", "-", stdout=subprocess.PIPE)
            assert running.process.stdout is not None
            read = [orjson.loads(running.process.stdout.readline()) for _ in range(lines)]
            running.process.stdout.close()
            stopped_s = time.time()
            found.bad += job.end(running) != 128 + signal.SIGPIPE
            found.bad += sum(line["output"] != right_answer(line["index"]) for line in read)
            job.news()
            found.add(job, stopped_s, patience_s)
    return found.figure(f"closed pipe after {lines} lines", stops, patience_s)


def _is_draining(running: Running) -> bool:
    return "draining" in running.said


def _ended_badly(job: WatchedJob, running: Running, code: int) -> int:
    """Wait for the end; count a wrong exit code, and that it does not say how to resume."""
    ended = job.end(running)
    said = re.search(r"to resume: llmscale run prompts\.jsonl", running.said)
    return (ended != code) + (said is None) + (not _is_valid(job))


def _is_valid(job: WatchedJob) -> bool:
    """Tell whether every line of the partial output is a right answer."""
    return all(line["output"] == right_answer(line["index"]) for line in _lines(job))


def _lines(job: WatchedJob) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in job.partial.read_bytes().splitlines()]


def _written(job: WatchedJob) -> set[str]:
    return {str(line["output"]).removeprefix("A:") for line in _lines(job)}


def _answered(entries: Sequence[Entry]) -> set[str]:
    return {entry.key for entry in entries if entry.answered}


CASES: dict[str, list[Callable[[], Figure]]] = {
    "signal": [partial(signalled, signal.SIGINT), partial(signalled, signal.SIGTERM)],
    "twice": [signalled_twice],
    "pipe": [closed_pipe],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.stopping", CASES)


if __name__ == "__main__":
    main()
