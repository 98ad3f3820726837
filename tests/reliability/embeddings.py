"""Vectors: each to its own text whatever the server sends (P12), and batches, and what is found.

`python -m tests.reliability.embeddings [CASE ...]` prints a table. P12 runs the tool itself against
a server on loopback whose vectors are a function of the text, and which tells what it was asked.
"""

import asyncio
import base64
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.jobs import read_lines
from tests.cli.tool import llmscale, write_rows
from tests.reliability.batches import fill, in_time
from tests.reliability.figures import Figure, run_cases
from tests.servers.chat import ROOT, Step
from tests.servers.embeddings import EmbeddingServer, Item, expected_vector

LOT = 50
MAX_CALLS_FOR_A_BAD_TEXT = 13  # to halve 50 until one stands alone

Distort = Callable[[list[Item]], list[Item]]


def text(index: int) -> str:
    """Return the text of a row; no two rows have the same."""
    return f"text {index}: " + "word " * (index % 23)


def with_vector(*numbers: float) -> Distort:
    """Return what puts another vector in the place of one."""
    embedding = base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()
    return lambda items: [items[0] | {"embedding": embedding}, *items[1:]]


SHUFFLED = "index shuffled"  # no fault, and so with all of them
DISTORTED: Mapping[str, Distort] = {
    SHUFFLED: lambda items: items,
    "one vector missing": lambda items: items[:-1],
    "one vector extra": lambda items: [*items, items[0] | {"index": len(items)}],
    "one vector twice, another not": lambda items: [*items[:-1], items[0]],
    "one vector shorter": with_vector(*[0.5] * 63),
    "one vector with NaN": with_vector(*[0.5] * 63, float("nan")),
    "one vector with an infinite number": with_vector(*[0.5] * 63, float("inf")),
    "one vector of zeros": with_vector(*[0.0] * 64),
}


class OnceDistorted(EmbeddingServer):
    """Shuffles every answer, and distorts the first that holds a text; the next one is right."""

    def __init__(self, distort_first: Distort) -> None:
        super().__init__()
        self._distort_first = distort_first
        self._seen: set[str] = set()
        self._rng = random.Random(1)

    def response_body(self, step: Step, key: str, question: Item | None) -> bytes:
        """Return the vectors, in no order."""
        texts = set(question["input"] if question else ())
        is_first = self._seen.isdisjoint(texts)
        self._seen |= texts

        def distort(items: list[Item]) -> list[Item]:
            items = self._distort_first(items) if is_first else items
            return self._rng.sample(items, len(items))

        self.distort = distort
        return super().response_body(step, key, question)


def _embed(server: EmbeddingServer, rows: int) -> list[dict[str, Any]]:
    """Run the tool to its end and return its lines."""

    async def run(folder: Path) -> None:
        write_rows(folder / "in.jsonl", ({"text": text(n)} for n in range(rows)))
        async with server:
            to = ("--model", "openai/v", "--base-url", server.base_url, "-o", "out.jsonl")
            # few at a time, or as many bad answers in a row as make an endpoint rest
            args = ("embed", "in.jsonl", *to, "--concurrency", 4)
            await asyncio.to_thread(llmscale, *args, cwd=folder)

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))
        return [*read_lines(Path(name, "out.jsonl"))]


def _judged(lines: Sequence[dict[str, Any]], rows: int, failing: set[int]) -> Counter[str]:
    """Count the rows that are lost, double, wrong, or failed without a reason."""
    found = Counter(line["index"] for line in lines)
    verdict = Counter(lost=sum(n not in found for n in range(rows)))
    verdict["double"] = sum(count - 1 for count in found.values())
    for line in lines:
        index, vector = line["index"], line["vector"]
        if vector is None:
            verdict["failed"] += index not in failing
        else:
            right = np.array(vector, "<f4").tobytes() == expected_vector(text(index))
            verdict["wrong"] += not right or index in failing
    return verdict


def p12_distorted(what: str, batches: int = 10) -> Figure:
    """Each answer comes shuffled; each batch gets a distorted one first, and right ones then.

    A batch that is answered wrongly is halved, so it takes three calls.
    """
    rows, server = batches * LOT, OnceDistorted(DISTORTED[what])
    verdict = _judged(_embed(server, rows), rows, set())
    calls, calls_a_lot = len(server.requests), 1 if what == SHUFFLED else 3
    value = f"{_said(verdict)}; {calls} calls for {batches} batches"
    met = not verdict.total() and calls == calls_a_lot * batches
    return Figure("P12", what, rows, verdict.total(), value, f"0; {calls_a_lot} a batch", met)


def p12_one_bad(batches: int = 20) -> Figure:
    """One text in each batch makes the server refuse the call."""
    rows, rng = batches * LOT, random.Random(1)
    bad = {batch * LOT + rng.randrange(LOT) for batch in range(batches)}
    server = EmbeddingServer()
    server.refused = {text(n): "invalid_input" for n in bad}
    verdict = _judged(_embed(server, rows), rows, bad)
    calls = Counter(_lots_of(request.body["input"] for request in server.requests))
    most = max(calls.values())
    value = f"{_said(verdict)}; {most} calls for a batch at most"
    met = not verdict.total() and most <= MAX_CALLS_FOR_A_BAD_TEXT and len(calls) == batches
    goal = f"0; <= {MAX_CALLS_FOR_A_BAD_TEXT} a batch"
    return Figure("P12", "one bad text in 50", rows, verdict.total(), value, goal, met)


def _said(verdict: Counter[str]) -> str:
    names = ("wrong", "lost", *(name for name in ("double", "failed") if verdict[name]))
    return ", ".join(f"{verdict[name]} {name}" for name in names)


def _lots_of(inputs: Iterator[list[str]]) -> Iterator[int]:
    """Yield the batch of each call; the first call of a batch has all of its texts."""
    lot_of: dict[str, int] = {}
    for number, texts in enumerate(inputs):
        if texts[0] not in lot_of:
            lot_of |= dict.fromkeys(texts, number)
        yield lot_of[texts[0]]


QUESTIONS = {
    "How do I lubricate a bike?": "bicycle-chain.md",
    "When does the honey get harvested?": "beekeeping.md",
    "descaling the espresso machine": "coffee-machine.rst",
    "Is 1900 a leap year?": "leap_year.py",
    "How long may I borrow a book?": "library-rules.txt",
    "who lit the lamp for ships at sea": "lighthouse.html",
    "constellations and planets to see": "night-sky.txt",
    "price to send a parcel by weight": "parcel_postage.py",
    "baking bread with a starter": "sourdough.md",
    "Why does the sea rise twice a day?": "tides.md",
}


def found() -> Figure:
    """For ten questions on samples/docs: is the right file among the nearest three?"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "samples" / "docs", folder / "docs")
        write_rows(folder / "q.jsonl", [{"text": question} for question in QUESTIONS])
        for embedded in ("docs", "q.jsonl"):
            llmscale("embed", embedded, "--normalize", cwd=folder)
        chunks = [*read_lines(folder / "docs.vectors.jsonl")]
        asked = [*read_lines(folder / "q.vectors.jsonl")]
    matrix = np.array([line["vector"] for line in chunks])
    misses = 0
    for line, right in zip(asked, QUESTIONS.values(), strict=True):
        order = np.argsort(-(matrix @ np.array(line["vector"])))
        nearest = [*dict.fromkeys(Path(chunks[place]["source"]).name for place in order)]
        misses += right not in nearest[:3]
    count = len(QUESTIONS)
    value = f"{count - misses} of {count} in the top three"
    return Figure("search", "questions on samples/docs", count, misses, value, "all", not misses)


CASES: dict[str, list[Callable[[], Figure]]] = {
    "P12": [*(partial(p12_distorted, what) for what in DISTORTED), p12_one_bad],
    "batches": [in_time, fill],
    "search": [found],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.embeddings", CASES)


if __name__ == "__main__":
    main()
