"""Rows per second of `llmscale run` beside the loop that one would write by hand.

Both ask the same server, a process of its own on this machine, for the same rows, in turn. Every
answer of both is checked before a figure is printed.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.jobs import MODEL, environment, insist, run_command_line, write_prompts
from tests.benchmarks.machine import print_machine
from tests.benchmarks.paired import Pairs, Sample, alternate, print_pairs, run_command, spread
from tests.servers.chat import chat_process

HANDWRITTEN = str(Path(__file__).with_name("handwritten.py"))


class Contest:
    """One job, and the two ways of doing it; each run begins in an empty folder."""

    def __init__(self, folder: Path, base_url: str, options: argparse.Namespace) -> None:
        self._folder = folder
        self._base_url = base_url
        self._rows: int = options.rows
        self._concurrency = ("--concurrency", str(options.concurrency))
        self._extra = shlex.split(options.extra_args)
        write_prompts(folder / "prompts.jsonl", self._rows)

    def run_llmscale(self) -> Sample:
        """Run the tool."""
        return self._run(run_command_line(self._base_url, *self._concurrency, *self._extra))

    def run_handwritten(self) -> Sample:
        """Run the reference."""
        files = ("prompts.jsonl", "out.jsonl")
        where = ("--base-url", self._base_url, "--model", MODEL)
        return self._run([sys.executable, HANDWRITTEN, *files, *where, *self._concurrency])

    def _run(self, command: list[str]) -> Sample:
        folder = self._folder / "run"
        folder.mkdir()
        (folder / "prompts.jsonl").hardlink_to(self._folder / "prompts.jsonl")
        try:
            sample = run_command(command, cwd=folder, env=environment(folder))
            insist(folder / "out.jsonl", self._rows)
        finally:
            shutil.rmtree(folder)
        return sample


def print_rates(pairs: Pairs[Sample], rows: int) -> None:
    """Print what the samples mean in rows."""
    for name, samples in (("llmscale", pairs.first), ("handwritten", pairs.second)):
        rate = spread(samples, lambda sample: rows / sample.wall_s, 0)
        cpu = spread(samples, lambda sample: sample.cpu_s / rows * 1e6, 0)
        print(f"{name:11}  {rate} rows/s  {cpu} us CPU per row")
    speed = 1 / pairs.ratio(lambda sample: sample.wall_s)
    print(f"llmscale does {speed:.2f} times the rows of the reference in the same time")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throughput")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5, help="of each")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--extra-args", default="", help="for llmscale run, as one string")
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as folder, chat_process() as base_url:
        contest = Contest(Path(folder), base_url, options)
        pairs = alternate(contest.run_llmscale, contest.run_handwritten, options.runs)
    print(f"{options.rows:,} rows, every answer right; minimum / median / maximum")
    print_pairs("llmscale", "handwritten", pairs)
    print_rates(pairs, options.rows)


if __name__ == "__main__":
    main()
