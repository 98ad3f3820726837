"""Texts per second of `llmscale embed`, beside the loop that one would write by hand.

Both ask the same embeddings server, a process of its own on this machine, for the vectors of the
same texts, in turn; every vector of both is checked. Then batches and calls, and with `--local` the
model in this process beside its bare library.
"""

import argparse
import math
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson

from tests.benchmarks.jobs import environment, program, read_lines
from tests.benchmarks.machine import print_machine
from tests.benchmarks.paired import Pairs, Sample, alternate, print_pairs, run_command, spread
from tests.servers.embeddings import DIMENSIONS, embedding_process, expected_vector

MODEL = "vectors"
HANDWRITTEN = str(Path(__file__).with_name("handwritten_embed.py"))
LOT = 50


def text(index: int) -> str:
    """Return the text of a row, of 5 to 40 words; no two rows have the same."""
    return f"row {index}: " + " ".join(f"word{(index * k) % 991}" for k in range(1, 5 + index % 36))


def write_texts(path: Path, rows: int) -> None:
    """Write a job of so many rows."""
    with path.open("wb") as file:
        for index in range(rows):
            file.write(orjson.dumps({"text": text(index)}, option=orjson.OPT_APPEND_NEWLINE))


def insist(output: Path, rows: int, dimensions: int) -> None:
    """Raise unless every text has its own vector, once."""
    seen = bytearray(rows)
    for line in read_lines(output):
        index = line["index"]
        if np.array(line["vector"], "<f4").tobytes() != expected_vector(text(index), dimensions):
            raise SystemExit(f"row {index} has a wrong vector, so there is no figure")
        seen[index] += 1
    if seen.count(1) != rows:
        raise SystemExit("rows are lost or double, so there is no figure")


class Contest:
    """One job, and the two ways of doing it; each run begins in an empty folder."""

    def __init__(
        self, folder: Path, base_url: str, rows: int, dimensions: int, options: list[str]
    ) -> None:
        self._folder = folder
        self._where = ("--base-url", base_url, "--dimensions", str(dimensions))
        self._rows = rows
        self._dimensions = dimensions
        self._options = options
        self.reports: list[dict[str, Any]] = []
        write_texts(folder / "texts.jsonl", rows)

    def run_llmscale(self) -> Sample:
        """Run the tool."""
        where = ("--model", "openai/" + MODEL, *self._where, "--quiet")
        command = [program(), "embed", "texts.jsonl", "-o", "out.jsonl", *where, *self._options]
        return self._run(command)

    def run_handwritten(self) -> Sample:
        """Run the reference."""
        where = ("--model", MODEL, *self._where)
        return self._run([sys.executable, HANDWRITTEN, "texts.jsonl", "out.jsonl", *where])

    def _run(self, command: list[str]) -> Sample:
        folder = self._folder / "run"
        folder.mkdir()
        (folder / "texts.jsonl").hardlink_to(self._folder / "texts.jsonl")
        try:
            sample = run_command(command, cwd=folder, env=environment(folder))
            insist(folder / "out.jsonl", self._rows, self._dimensions)
            report = folder / "out.report.json"
            if report.exists():
                self.reports.append(orjson.loads(report.read_bytes()))
        finally:
            shutil.rmtree(folder)
        return sample


def print_rates(pairs: Pairs[Sample], contest: Contest, rows: int) -> None:
    """Print what the samples mean in texts, and how the batches were filled."""
    for name, samples in (("llmscale", pairs.first), ("handwritten", pairs.second)):
        rate = spread(samples, lambda sample: rows / sample.wall_s, 0)
        cpu = spread(samples, lambda sample: sample.cpu_s / rows * 1e6, 0)
        print(f"{name:11}  {rate} texts/s  {cpu} us CPU per text")
    speed = 1 / pairs.ratio(lambda sample: sample.wall_s)
    print(f"llmscale does {speed:.2f} times the texts of the reference in the same time")
    fill = median(report["batches"]["mean_fill"] for report in contest.reports)
    calls = median(report["calls"]["attempts"] for report in contest.reports)
    least = math.ceil(rows / LOT)
    print(
        f"batches are {fill:.1%} full; {calls:.0f} calls, {calls / least:.3f} of the least possible"
    )


def bare_texts_per_s(rows: int) -> float:
    """Return what the bare library does with all texts in batches of 50."""
    from wordllama import WordLlama

    folder = Path(sys.modules["wordllama"].__file__ or "").parent
    model = WordLlama.load(cache_dir=folder, disable_download=True)
    texts = [text(index) for index in range(rows)]
    began_s = time.perf_counter()
    for start in range(0, rows, LOT):
        model.embed(texts[start : start + LOT], norm=True)
    return rows / (time.perf_counter() - began_s)


def print_local(folder: Path, rows: int, runs: int) -> None:
    """Print the model in this process end to end, beside its bare library."""
    write_texts(folder / "texts.jsonl", rows)
    rates, bare = [], []
    for number in range(runs):
        bare.append(bare_texts_per_s(rows))
        output = f"{number}.jsonl"
        command = [program(), "embed", "texts.jsonl", "-o", output, "--quiet"]
        sample = run_command(command, cwd=folder, env=environment(folder))
        if sum(line["vector"] is not None for line in read_lines(folder / output)) != rows:
            raise SystemExit("vectors are missing, so there is no figure")
        rates.append(rows / sample.wall_s)
    ratio = median(one / other for one, other in zip(rates, bare, strict=True))
    print(f"local/wordllama end to end {median(rates):,.0f} texts/s, bare {median(bare):,.0f}")
    print(f"ratio {ratio:.2f} (median of {runs} pairs)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.embed")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=DIMENSIONS, help="of a vector")
    parser.add_argument("--runs", type=int, default=5, help="of each")
    parser.add_argument("--local", action="store_true", help="the model in this process instead")
    parser.add_argument("--option", action="append", default=[], help="for llmscale embed")
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.local:
            print_local(folder, options.rows, options.runs)
            return
        with embedding_process() as base_url:
            contest = Contest(folder, base_url, options.rows, options.dimensions, options.option)
            pairs = alternate(contest.run_llmscale, contest.run_handwritten, options.runs)
    size = f"{options.dimensions} numbers each"
    print(f"{options.rows:,} texts, {size}, every vector right; minimum / median / maximum")
    print_pairs("llmscale", "handwritten", pairs)
    print_rates(pairs, contest, options.rows)


if __name__ == "__main__":
    main()
