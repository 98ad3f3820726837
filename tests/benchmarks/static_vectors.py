"""Texts per second of `local/wordllama` beside wordllama itself, in one process and in turn.

CPU seconds count as much as wall time: both may use several threads, and a machine is rarely idle.
"""

import argparse
import importlib
import importlib.util
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmscale.providers.static_vectors import StaticVectors
from tests.benchmarks.machine import print_machine
from tests.benchmarks.paired import alternate, spread
from tests.servers.chat import ROOT


@dataclass(frozen=True, slots=True)
class Embedding:
    """What one run over all texts took."""

    texts: int
    wall_s: float
    cpu_s: float  # of all threads

    @property
    def texts_per_s(self) -> float:
        """By the clock."""
        return self.texts / self.wall_s

    @property
    def texts_per_cpu_s(self) -> float:
        """By the work done."""
        return self.texts / self.cpu_s


def short_texts(count: int) -> list[str]:
    """Return texts of 5 to 20 words out of the sample documents, the same ones every time."""
    rng = random.Random(1)
    paths = sorted((ROOT / "samples" / "docs").iterdir())
    words = sorted({word for path in paths for word in path.read_text().split()})
    return [" ".join(rng.choices(words, k=rng.randint(5, 20))) for _ in range(count)]


def load_wordllama() -> Any:
    """Return wordllama's own model, told where its files are."""
    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise SystemExit('wordllama is not installed: pip install "llmscale[local]"')
    folder = Path(spec.origin).parent
    model = importlib.import_module("wordllama").WordLlama
    return model.load(cache_dir=folder, disable_download=True)


def timed(embed: Callable[[list[str]], Any], texts: list[str], batch: int) -> Embedding:
    """Embed all texts in batches."""
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    for start in range(0, len(texts), batch):
        embed(texts[start : start + batch])
    return Embedding(
        len(texts), time.perf_counter() - started_s, time.process_time() - started_cpu_s
    )


def compare(ours: StaticVectors, wordllama: Any, texts: list[str], batch: int, runs: int) -> None:
    """Print the rates of both on batches of one size."""

    def run_ours() -> Embedding:
        return timed(ours.embed, texts, batch)

    def run_wordllama() -> Embedding:
        return timed(lambda some: wordllama.embed(some, norm=True), texts, batch)

    pairs = alternate(run_ours, run_wordllama, runs)
    print(f"in batches of {batch:,}")
    for name, embeddings in (("llmscale", pairs.first), ("wordllama", pairs.second)):
        rate = spread(embeddings, lambda e: e.texts_per_s, 0)
        cpu_rate = spread(embeddings, lambda e: e.texts_per_cpu_s, 0)
        print(f"  {name:9}  {rate} texts/s  {cpu_rate} texts per CPU second")
    wall, cpu = pairs.ratio(lambda e: e.texts_per_s), pairs.ratio(lambda e: e.texts_per_cpu_s)
    print(f"  ratio      wall {wall:.2f}  CPU {cpu:.2f}  (median of {runs} pairs)", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.static_vectors")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=9, help="of each")
    options = parser.parse_args()
    print_machine()
    started_s = time.perf_counter()
    ours = StaticVectors()
    print(f"loaded in {time.perf_counter() - started_s:.2f} s, imports included")
    wordllama = load_wordllama()
    texts = short_texts(options.texts)
    tokens = sum(ours.embed(texts)[1])
    print(f"{len(texts):,} texts of {tokens / len(texts):.1f} tokens")
    print("minimum / median / maximum")
    for batch in (50, len(texts)):
        compare(ours, wordllama, texts, batch, options.runs)


if __name__ == "__main__":
    main()
