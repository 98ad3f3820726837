"""Tokens per second of `llmscale run` on the local model beside the bare library.

The same rows, slots, threads and sampling, a fresh process for each run, in turn. Both are timed
from outside; what it takes to start, load and end is measured by a job of one row and one token,
and taken off.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.benchmarks.bare_library import SLOTS, questions
from tests.benchmarks.jobs import environment, program, read_lines
from tests.benchmarks.machine import print_machine
from tests.benchmarks.paired import alternate, spread
from tests.servers.chat import ROOT

BARE_LIBRARY = str(Path(__file__).with_name("bare_library.py"))


@dataclass(frozen=True, slots=True)
class Generation:
    """What one process took for a job, what it takes for next to none, and how much it said."""

    process_s: float
    load_s: float  # to start, load and end
    tokens: int  # of output

    @property
    def tokens_per_s(self) -> float:
        """While it answered."""
        return self.tokens / (self.process_s - self.load_s)


Generator = Callable[[Path, int], tuple[float, int]]  # prompts, max_tokens -> seconds, tokens


def run_llmscale(prompts: Path, max_tokens: int) -> tuple[float, int]:
    """Run the tool into an empty folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [program(), "run", str(prompts), "-o", "out.jsonl", "--model", "local/smollm2"]
        sampling = ["--max-tokens", str(max_tokens), "--temperature", "0"]
        command += [*sampling, "--concurrency", str(SLOTS), "--quiet"]
        started_s = time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment(folder), check=True)
        process_s = time.perf_counter() - started_s
        lines = read_lines(folder / "out.jsonl")
        return process_s, sum(line["usage"]["output_tokens"] for line in lines)


def run_bare_library(prompts: Path, max_tokens: int) -> tuple[float, int]:
    """Run the reference."""
    command = [sys.executable, BARE_LIBRARY, str(prompts), "--max-tokens", str(max_tokens)]
    started_s = time.perf_counter()
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    process_s = time.perf_counter() - started_s
    return process_s, orjson.loads(printed.splitlines()[-1])["tokens"]


class Contest:
    """One job, and a job of next to nothing, for whoever answers them."""

    def __init__(self, folder: Path, prompts: Path, max_tokens: int) -> None:
        # the questions alone: what a row says of its sampling would win over the flags
        rows = [orjson.dumps({"messages": asked}) + b"\n" for asked in questions(prompts)]
        self._max_tokens = max_tokens
        self._prompts = folder / "prompts.jsonl"
        self._prompts.write_bytes(b"".join(rows))
        self._one_row = folder / "one_row.jsonl"
        self._one_row.write_bytes(rows[0])

    def runs_of(self, generator: Generator) -> Callable[[], Generation]:
        """Return a call that runs both jobs."""

        def run() -> Generation:
            load_s, _ = generator(self._one_row, 1)
            process_s, tokens = generator(self._prompts, self._max_tokens)
            return Generation(process_s, load_s, tokens)

        return run


def print_generations(name: str, runs: Sequence[Generation]) -> None:
    """Print the figures of one of the two."""
    rate = spread(runs, lambda run: run.tokens_per_s, 1)
    tokens = spread(runs, lambda run: run.tokens, 0)
    process_s, load_s = (
        spread(runs, lambda run: run.process_s),
        spread(runs, lambda run: run.load_s),
    )
    print(f"{name:12}  {rate} tokens/s  {tokens} tokens")
    print(f"{'':12}  {process_s} s in all  {load_s} s of it to start, load and end")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.local_model")
    parser.add_argument("--prompts", type=Path, default=ROOT / "samples" / "prompts.jsonl")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3, help="of each")
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(Path(folder), options.prompts.resolve(), options.max_tokens)
        llmscale = contest.runs_of(run_llmscale)
        bare_library = contest.runs_of(run_bare_library)
        pairs = alternate(llmscale, bare_library, options.runs)
    print("minimum / median / maximum")
    print_generations("llmscale", pairs.first)
    print_generations("bare library", pairs.second)
    answering, in_all = pairs.ratio(lambda r: r.tokens_per_s), pairs.ratio(lambda r: r.process_s)
    print(f"ratio         tokens/s {answering:.2f}  time in all {in_all:.2f}")


if __name__ == "__main__":
    main()
