"""Lots of texts: out in time when they are not full, and full when lengths differ.

The time is virtual: rows wait in the real batcher over a layer that takes note of what goes out.
"""

import asyncio
import random
from collections.abc import Sequence
from functools import partial

from llmscale.accounting.stats import Stats
from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.layers.batcher import Batcher
from llmscale.engine.layers.lots import LotCaps
from llmscale.engine.layers.weights import Weights
from tests.engine.answering import answer
from tests.reliability.figures import Figure
from tests.virtual_time import now_s, virtually

MOST_LATE_S = 0.05
WAIT_S = 1.0
LEAST_FILL = 0.95
MOST_CALLS = 1.03  # of the fewest possible
CALLS_IN_FLIGHT = 16


class Recorded:
    """A layer below lots that notes when each goes out, and takes a while."""

    def __init__(self, latency_s: float = 0.0) -> None:
        self.lots: list[list[str]] = []
        self.sent_at_s: list[float] = []
        self._latency_s = latency_s

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each text with itself."""
        self.sent_at_s.append(now_s())
        self.lots.append([request.text or "" for request in requests])
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
    """Rows that come too seldom to fill a lot: how far each lot is from its time."""
    late_s: list[float] = []
    for seed in range(trials):
        late_s += virtually(partial(_trickled, random.Random(seed)))
    bad = sum(seconds > MOST_LATE_S for seconds in late_s)
    value, goal = f"{max(late_s) * 1000:.0f} ms late at most", f"<= {MOST_LATE_S * 1000:.0f} ms"
    return Figure("lots", "partial lots at their time", len(late_s), bad, value, goal, not bad)


async def _trickled(dice: random.Random) -> list[float]:
    sends = Recorded()
    bridge = Batcher(sends, LotCaps(wait_s=WAIT_S), Weights(), Stats())
    came_at_s: dict[str, float] = {}

    async def ask(text: str) -> None:
        await asyncio.sleep(dice.uniform(0, 5))
        came_at_s[text] = now_s()
        await answer(bridge, Request(model="openai/v", text=text))

    await asyncio.gather(*(ask(f"text {number}") for number in range(dice.randint(1, 20))))
    sent = zip(sends.lots, sends.sent_at_s, strict=True)
    return [abs(at_s - came_at_s[lot[0]] - WAIT_S) for lot, at_s in sent]


def fill(rows: int = 5_000, tokens: int = 8_000) -> Figure:
    """Rows of very different lengths, as many in flight as in a run: how full lots are."""
    dice, stats = random.Random(1), Stats()
    characters = [min(4 * tokens, int(dice.lognormvariate(7.4, 1)) + 1) for _ in range(rows)]
    texts = [f"{number} ".ljust(size, "x") for number, size in enumerate(characters)]
    wrong = virtually(partial(_filled, texts, LotCaps(tokens=tokens), stats))
    mean = stats.lots.fill / stats.lots.count
    least = -(-sum(map(len, texts)) // (4 * tokens))
    value = f"{mean:.1%} full, {stats.lots.count / least:.3f} of the fewest calls"
    met = not wrong and mean >= LEAST_FILL and stats.lots.count <= MOST_CALLS * least
    what = f"{rows:,} texts of up to {max(characters) // 4:,} tokens"
    return Figure("lots", what, stats.lots.count, wrong, value, ">= 95 %, <= 1.03", met)


async def _filled(texts: Sequence[str], caps: LotCaps, stats: Stats) -> int:
    """Return how many texts have come to another vector than their own."""
    bridge = Batcher(Recorded(latency_s=0.1), caps, Weights(), stats)
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
