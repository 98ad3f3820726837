"""Several processes on one cache folder (S02): nothing lost or wrong, no error for anybody.

Each makes so many operations on a new folder, all at once: look-ups of random questions, and
groups of entries added. An answer is a function of its key, so that a wrong one is detected. What
a process has added it must find at once, and what any has added must be there at the end.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from functools import cache
from pathlib import Path
from random import Random

import msgspec

from llmscale.core.cache_records import Entry, StoredEntry
from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.cache.keys import fingerprint, key_of
from llmscale.engine.cache.store import Store
from tests.benchmarks.machine import print_machine
from tests.reliability.figures import Figure, print_table
from tests.servers.chat import ROOT

QUESTIONS = 20_000  # few enough that processes meet at the same ones
ADDS = 0.2  # of all operations; the others are look-ups
GROUP = 32  # entries of an add, at most
SIZE_LIMIT_BYTES = 10**11  # nothing is evicted
ANSWER_BYTES = 500


class Findings(msgspec.Struct):
    """What one process has seen."""

    operations: int = 0
    added: list[int] = []  # questions, each as often as it was added
    hits: int = 0
    errors: dict[str, int] = {}
    wrong: int = 0
    lost: int = 0
    slowest_add_s: float = 0.0


@cache
def question(number: int) -> tuple[str, Request]:
    """Return a question with its key."""
    asked = Request(model="openai/m", messages=[{"role": "user", "content": f"question {number}"}])
    return key_of(asked), asked


def right_answer(key: str) -> Reply:
    """Return the only right answer under a key."""
    text = (key * (ANSWER_BYTES // len(key) + 1))[:ANSWER_BYTES]
    return Reply(text=text, finish_reason="stop", model="m", usage=Usage(10, 2))


class Worker:
    """One process and what it does with the store."""

    def __init__(self, store: Store, seed: int) -> None:
        self.findings = Findings()
        self._store = store
        self._rng = Random(seed)
        self._own: set[int] = set()

    def work(self, operations: int) -> None:
        """Look up and add at random."""
        for _ in range(operations):
            self.findings.operations += 1
            try:
                if self._rng.random() < ADDS:
                    self._add()
                else:
                    self._look_up(self._rng.randrange(QUESTIONS))
            except Exception as error:
                name = f"{type(error).__name__}: {error}"
                self.findings.errors[name] = self.findings.errors.get(name, 0) + 1

    def _add(self) -> None:
        numbers = self._rng.choices(range(QUESTIONS), k=self._rng.randint(1, GROUP))
        group = []
        for number in numbers:
            key, asked = question(number)
            group.append(
                StoredEntry(key, Entry(right_answer(key), time.time(), fingerprint(asked)), "m")
            )
        began_s = time.perf_counter()
        self._store.add(group, replace=self._rng.random() < 0.5)
        took_s = time.perf_counter() - began_s
        self.findings.slowest_add_s = max(self.findings.slowest_add_s, took_s)
        self.findings.added += numbers
        self._own.update(numbers)
        self._look_up(numbers[0])

    def _look_up(self, number: int) -> None:
        key, _ = question(number)
        entry = self._store.get(key)
        if entry is None:
            self.findings.lost += number in self._own
            return
        self.findings.hits += 1
        self.findings.wrong += entry.reply != right_answer(key)


def work(folder: Path, seed: int, operations: int) -> None:
    """Be one of the processes: wait for the start, work, print what was found."""
    sys.stdin.readline()
    with closing(Store(folder, SIZE_LIMIT_BYTES)) as store:
        worker = Worker(store, seed)
        worker.work(operations)
        worker.findings.wrong += store.refused
    sys.stdout.buffer.write(msgspec.json.encode(worker.findings))


def run_all(
    folder: Path, processes: int, operations: int, seed: int
) -> tuple[list[Findings], float]:
    """Let all of them loose at once on a folder that is not there yet."""
    base = [sys.executable, "-m", "tests.reliability.shared_cache", "--folder", str(folder)]
    base += ["--operations", str(operations)]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen([*base, "--worker", str(seed + number)], cwd=ROOT, stdin=pipe, stdout=pipe)
        for number in range(processes)
    ]
    time.sleep(1)  # until all have imported what they need
    began_s = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    printed = [worker.communicate()[0] for worker in workers]
    seconds = time.perf_counter() - began_s
    if any(worker.returncode for worker in workers):
        raise SystemExit(f"exit codes {[worker.returncode for worker in workers]}")
    return [msgspec.json.decode(one, type=Findings) for one in printed], seconds


def judge(folder: Path, added: set[int]) -> tuple[int, int]:
    """Return how many of the entries that were added are lost at the end, and how many wrong."""
    lost = wrong = 0
    with closing(Store(folder, SIZE_LIMIT_BYTES)) as store:
        for number in added:
            key, _ = question(number)
            entry = store.get(key)
            lost += entry is None
            wrong += entry is not None and entry.reply != right_answer(key)
        wrong += store.contents().entries + lost - len(added)  # entries that nobody has added
    return lost, wrong


def shared(processes: int = 8, operations: int = 10_000, seed: int = 1) -> Figure:
    """Let them work, and judge what each has seen and what is there at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cache"
        found, seconds = run_all(folder, processes, operations, seed)
        lost, wrong = judge(folder, {number for one in found for number in one.added})
    errors = sum((Counter(one.errors) for one in found), Counter[str]())
    for error, count in errors.most_common():
        print(f"{count} x {error}", file=sys.stderr)
    lost += sum(one.lost for one in found)
    wrong += sum(one.wrong for one in found)
    done = sum(one.operations for one in found)
    slowest_s = max(one.slowest_add_s for one in found)
    value = f"{lost} lost, {wrong} wrong, {done / seconds:,.0f}/s, slowest {slowest_s:.2f} s"
    bad = errors.total() + wrong + lost
    return Figure("S02", f"{processes} processes on a cache", done, bad, value, "0", bad == 0)


def main() -> None:
    """Be a worker, or run all; exit 1 when something is lost, wrong or an error."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.shared_cache")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--operations", type=int, default=10_000, help="of each process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.folder, options.worker, options.operations)
        return
    print_machine()
    print(f"seed      {options.seed}")
    figure = shared(options.processes, options.operations, options.seed)
    print_table([figure])
    sys.exit(0 if figure.met else 1)


if __name__ == "__main__":
    main()
