"""What the cache costs a cold run and saves a warm one, beside a bare loop over the same entries.

Each round runs the same rows without a cache, with an empty one, and again with what that has
stored, in folders of their own; rounds take turns at which goes first. Then a loop of nothing but
`diskcache.Cache.get`, with our Disk, over the entries that the round has stored. Every answer is
checked, and that a warm run asks the server nothing.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from llmscale.core.records import Request
from llmscale.engine.cache.entry import unseal
from llmscale.engine.cache.keys import key_of
from llmscale.engine.cache.store import Store
from tests.benchmarks.jobs import (
    MODEL,
    environment,
    insist,
    prompt,
    right_answer,
    run_command_line,
    write_prompts,
)
from tests.benchmarks.machine import print_machine
from tests.benchmarks.paired import Pairs, Sample, run_command, spread
from tests.servers.chat import ROOT, chat_process

NO_CACHE, COLD, WARM, BARE = "cold, no cache", "cold, cache", "warm", "bare get"
ROOMY_BYTES = 10**11


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the tool."""

    process: Sample
    rows_per_s: float  # as its report says: without the time that Python takes to start


@dataclass(frozen=True, slots=True)
class Round:
    """The same rows in every way, one after the other."""

    no_cache: Run
    cold: Run
    warm: Run
    bare_rows_per_s: float


class Job:
    """The rows, and where they are asked."""

    def __init__(self, folder: Path, base_url: str, rows: int, concurrency: int) -> None:
        self._folder = folder
        self._command = run_command_line(base_url, "--concurrency", str(concurrency))
        self._rows = rows
        write_prompts(folder / "prompts.jsonl", rows)

    def round(self, *, cached_first: bool) -> Round:
        """Run in every way, in folders that are new."""
        turns: list[Callable[[], None]] = [self._run_without, self._run_with]
        self._runs: dict[str, Run] = {}
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            self._place = Path(name)
            for turn in reversed(turns) if cached_first else turns:
                turn()
        runs = self._runs
        return Round(runs[NO_CACHE], runs[COLD], runs[WARM], self._bare_rows_per_s)

    def _run_without(self) -> None:
        self._runs[NO_CACHE] = self._run(NO_CACHE, "off", hits=0)

    def _run_with(self) -> None:
        self._runs[COLD] = self._run(COLD, "on", hits=0)
        self._runs[WARM] = self._run(WARM, "on", hits=self._rows)
        self._bare_rows_per_s = bare_rows_per_s(self._place / "cache", self._rows)

    def _run(self, name: str, mode: str, *, hits: int) -> Run:
        folder = self._place / name
        folder.mkdir()
        (folder / "prompts.jsonl").hardlink_to(self._folder / "prompts.jsonl")
        command = [*self._command, "--cache", mode, "--cache-dir", str(self._place / "cache")]
        sample = run_command(command, cwd=folder, env=environment(folder))
        insist(folder / "out.jsonl", self._rows)
        report: dict[str, Any] = orjson.loads((folder / "out.report.json").read_bytes())
        found, calls = report["cache"]["hits"], report["calls"]["attempts"]
        if (found, calls) != (hits, self._rows - hits):
            raise SystemExit(f"{name}: {found} hits and {calls} calls, so there is no figure")
        return Run(sample, report["rows_per_s"])


def bare_rows_per_s(folder: Path, rows: int) -> float:
    """Return how many entries a loop of `get` finds a second, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.cache", "--bare", str(folder)]
    printed = subprocess.run(
        [*command, "--rows", str(rows)], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout
    return float(printed)


def loop_bare(folder: Path, rows: int) -> float:
    """Look every row up and return how many a second; its answer is read and checked afterwards."""
    keys = [key_of(_request(index)) for index in range(rows)]
    with closing(Store(folder, ROOMY_BYTES)) as store:
        get = store._cache.get
        began_s = time.perf_counter()
        values = [get(key) for key in keys]
        took_s = time.perf_counter() - began_s
    for index, (key, value) in enumerate(zip(keys, values, strict=True)):
        if unseal(key, value).reply.text != right_answer(index):
            raise SystemExit(f"row {index} is not right, so there is no figure")
    return rows / took_s


def _request(index: int) -> Request:
    return Request(model=f"openai/{MODEL}", messages=[{"role": "user", "content": prompt(index)}])


def print_rounds(rounds: Sequence[Round], rows: int) -> None:
    """Print the figures of each way, and how they compare within a round."""
    ways: list[tuple[str, list[Run]]] = [
        (NO_CACHE, [one.no_cache for one in rounds]),
        (COLD, [one.cold for one in rounds]),
        (WARM, [one.warm for one in rounds]),
    ]
    for name, runs in ways:
        wall_s = spread(runs, lambda run: run.process.wall_s)
        cpu_s = spread(runs, lambda run: run.process.cpu_s)
        rate = spread(runs, lambda run: rows / run.process.wall_s, 0)
        print(f"{name:14}  wall {wall_s} s  CPU {cpu_s} s  {rate} rows/s")
    print(f"{BARE:14}  {spread(rounds, lambda one: one.bare_rows_per_s, 0)} rows/s")
    for one, other in ((1, 0), (2, 1), (2, 0)):
        pairs = Pairs(ways[one][1], ways[other][1])
        wall = pairs.ratio(lambda run: run.process.wall_s)
        cpu = pairs.ratio(lambda run: run.process.cpu_s)
        names = f"{ways[one][0]} / {ways[other][0]}"
        print(f"{names}: wall {wall:.2f}  CPU {cpu:.2f}  (median of {len(rounds)} pairs)")
    whole = median(rows / one.warm.process.wall_s / one.bare_rows_per_s for one in rounds)
    reported = median(one.warm.rows_per_s / one.bare_rows_per_s for one in rounds)
    print(
        f"{WARM} / {BARE} in rows/s: {whole:.3f} as a whole process, {reported:.3f} by its report"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cache")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5, help="of each")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--bare", type=Path, metavar="FOLDER", help="only the loop, over a cache")
    options = parser.parse_args()
    if options.bare is not None:
        print(loop_bare(options.bare, options.rows))
        return
    print_machine()
    with tempfile.TemporaryDirectory() as folder, chat_process() as base_url:
        job = Job(Path(folder), base_url, options.rows, options.concurrency)
        rounds = [job.round(cached_first=bool(number % 2)) for number in range(options.runs)]
    print(f"{options.rows:,} rows, every answer right; minimum / median / maximum")
    print_rounds(rounds, options.rows)


if __name__ == "__main__":
    main()
