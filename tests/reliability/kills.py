"""Case C01: kill `llmscale run` at random moments, resume, and judge what is left.

The judges are the final output and the ledger of the chat server; the tool's own count has to lie
between what the ledger says was asked again and what can have been in flight. SIGKILL is the death
of a process, not of the machine's power.
"""

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from tests.benchmarks.machine import print_machine
from tests.reliability.figures import Figure, print_table
from tests.reliability.ledger import Entry, InFlight, Reservation, arrivals, in_flight, serving
from tests.reliability.watched import WatchedJob

LAST_KILL = 0.9  # of all calls; what is left gives every kill a job to hit


class Campaign:
    """One job, killed and resumed by the same command until it may end."""

    def __init__(self, job: WatchedJob) -> None:
        self._job = job
        self.kills: list[InFlight] = []
        self.last: list[Entry] = []  # of the last run

    def kill_after(self, calls: int, pause_s: float) -> bool:
        """Run until so many calls have arrived and a moment more; kill. False: it ended before."""
        running = self._job.start()
        run: list[Entry] = []

        def has_asked() -> bool:
            run.extend(self._job.served.ledger.read())
            return len(arrivals(run)) >= calls

        running.until(has_asked)
        time.sleep(pause_s)
        was_running = self._job.kill(running)
        self._job.entries += run
        run += self._job.news()
        if was_running:
            self.kills.append(in_flight(run))
        self.last = run
        return was_running

    def finish(self) -> None:
        """Let the job run to its end."""
        code, said = self._job.run()
        if code:
            self._job.complaints.append(f"the last run ended with exit code {code}: {said}")
        self.last = self._job.news()


def moments(kills: int, rows: int, latency_s: float, random: Random) -> Iterator[tuple[int, float]]:
    """Yield each kill as calls to wait for and seconds to wait then, spread over the whole job."""
    last = LAST_KILL * rows
    points = [0.0, *sorted(random.uniform(0, last) for _ in range(kills))]
    for before, after in itertools.pairwise(points):
        yield max(1, int(after - before)), random.uniform(0, 2 * latency_s)


def c01(
    kills: int = 200,
    rows: int = 2_000,
    width: int = 16,
    latency_s: float = 0.02,
    seed: int = 1,
    root: Path | None = None,
    cache: str = "on",
    line_bytes: int = 0,
) -> Figure:
    """Kill, resume, kill; then let it end. `line_bytes`: more of each line of the output."""
    keep = contextlib.nullcontext(root)
    with keep if root else tempfile.TemporaryDirectory() as name:
        folder = Path(name or "").resolve()
        pace = ("--latency", latency_s, "--jitter", latency_s, "--seed", seed)
        with serving(folder, *pace) as served:
            options = ("--cache", cache, "--cache-dir", "cache", "--concurrency", width)
            metadata = "x" * line_bytes or None
            job = WatchedJob(folder / "job", rows, served, options, metadata)
            campaign = Campaign(job)
            for calls, pause_s in moments(kills, rows, latency_s, Random(seed)):
                if not campaign.kill_after(calls, pause_s):
                    break
            campaign.finish()
        wrong = job.wrong()
        own_count = 0 if job.complaints else job.max_repeated_calls()
    what = f"{rows:,} rows, {width} in flight, cache {cache}"
    if line_bytes:
        what += f", {rows * line_bytes / 1e6:.0f} MB out"
    most = 2 * width  # in a turn all that are in flight may be answered and others taken up
    return judged(what, campaign.kills, Reservation.of(job.entries), wrong, own_count, most)


def judged(
    what: str, kills: Sequence[InFlight], bill: Reservation, wrong: int, own_count: int, most: int
) -> Figure:
    """Hold what was asked again against what was in flight, by the ledger and by the tool."""
    flying = sum(kill.calls for kill in kills)
    bad = wrong + max(0, bill.asked_again - min(flying, own_count))
    value = f"{bill.asked_again} asked again, {flying} in flight, tool: {own_count}"
    met = bad == 0 and own_count <= len(kills) * most
    return Figure("C01", what, len(kills), bad, value, "0, again <= in flight", met)


def main() -> None:
    """Run the campaign; exit 1 when the promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.kills")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--latency", type=float, default=0.02, metavar="S", help="up to twice that")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="an empty one, kept; default: temporary")
    options = parser.parse_args()
    print_machine()
    print(f"seed      {options.seed}")
    pace = (options.concurrency, options.latency, options.seed, options.folder)
    figure = c01(options.kills, options.rows, *pace)
    print_table([figure])
    sys.exit(0 if figure.met else 1)


if __name__ == "__main__":
    main()
