"""Lots of texts: out in time when they are not full, and full when lengths differ.

The time is virtual: rows wait in the real batcher over a layer that takes note of what goes out.
"""

import asyncio
import random
from collections.abc import Sequence
from functools import partial

from llmscale.accounting.stats import Stats
from llmscale.accounting.tokens import TokenEstimates
from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.layers.batcher import Batcher
from llmscale.engine.layers.batches import BatchCaps
from llmscale.engine.layers.text_weights import TextWeights
from tests.engine.answering import answer
from tests.reliability.figures import Figure
from tests.virtual_time import now_s, virtually

MAX_LATE_S = 0.05
WAIT_S = 1.0
MIN_FILL = 0.95
MAX_CALLS = 1.03  # of the fewest possible
CALLS_IN_FLIGHT = 16


class Recorded:
    """A layer below batches that notes when each goes out, and takes a while."""

    def __init__(self, latency_s: float = 0.0) -> None:
        self.batches: list[list[str]] = []
        self.sent_at_s: list[float] = []
        self._latency_s = latency_s

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each text with itself."""
        self.sent_at_s.append(now_s())
        self.batches.append([request.text or "" for request in requests])
        await asyncio.sleep(self._latency_s)
        return [
            Reply(
                text=None,
                finish_reason="stop",
                model="v",
                usage=Usage(max(1, len(request.text or "") // 4)),
                vector=(request.text or "").encode(),
            )
            for request in requests
        ]


def in_time(trials: int = 50) -> Figure:
    """Rows that come too seldom to fill a batch: how far each batch is from its time."""
    late_s: list[float] = []
    for seed in range(trials):
        late_s += virtually(partial(_trickled, random.Random(seed)))
    bad = sum(seconds > MAX_LATE_S for seconds in late_s)
    value, goal = f"{max(late_s) * 1000:.0f} ms late at most", f"<= {MAX_LATE_S * 1000:.0f} ms"
    return Figure(
        "batches", "partial batches at their time", len(late_s), bad, value, goal, not bad
    )


async def _trickled(rng: random.Random) -> list[float]:
    sends = Recorded()
    bridge = Batcher(sends, BatchCaps(wait_s=WAIT_S), TextWeights(TokenEstimates()), Stats())
    came_at_s: dict[str, float] = {}

    async def ask(text: str) -> None:
        await asyncio.sleep(rng.uniform(0, 5))
        came_at_s[text] = now_s()
        await answer(bridge, Request(model="openai/v", text=text))

    await asyncio.gather(*(ask(f"text {number}") for number in range(rng.randint(1, 20))))
    sent = zip(sends.batches, sends.sent_at_s, strict=True)
    return [abs(at_s - came_at_s[batch[0]] - WAIT_S) for batch, at_s in sent]


def fill(rows: int = 5_000, tokens: int = 8_000) -> Figure:
    """Rows of very different lengths, as many in flight as in a run: how full batches are."""
    rng, stats = random.Random(1), Stats()
    characters = [min(4 * tokens, int(rng.lognormvariate(7.4, 1)) + 1) for _ in range(rows)]
    texts = [f"{number} ".ljust(size, "x") for number, size in enumerate(characters)]
    wrong = virtually(partial(_filled, texts, BatchCaps(tokens=tokens), stats))
    mean = stats.batches.fill / stats.batches.count
    least = -(-sum(map(len, texts)) // (4 * tokens))
    value = f"{mean:.1%} full, {stats.batches.count / least:.3f} of the fewest calls"
    met = not wrong and mean >= MIN_FILL and stats.batches.count <= MAX_CALLS * least
    what = f"{rows:,} texts of up to {max(characters) // 4:,} tokens"
    return Figure("batches", what, stats.batches.count, wrong, value, ">= 95 %, <= 1.03", met)


async def _filled(texts: Sequence[str], caps: BatchCaps, stats: Stats) -> int:
    """Return how many texts have come to another vector than their own."""
    bridge = Batcher(Recorded(latency_s=0.1), caps, TextWeights(TokenEstimates()), stats)
    waiting = iter(texts)

    async def work() -> int:
        wrong = 0
        for text in waiting:
            reply = await answer(bridge, Request(model="openai/v", text=text))
            wrong += reply.vector != text.encode()
        bridge.end()
        return wrong

    width = (CALLS_IN_FLIGHT + 1) * caps.items
    return sum(await asyncio.gather(*(work() for _ in range(width))))
