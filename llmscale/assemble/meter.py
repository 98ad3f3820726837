"""Looks at a run ten times a second: what is in flight, what has ended, what holds it back."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from llmscale.balance.endpoint import Endpoint
from llmscale.balance.pool import Pool
from llmscale.balance.retrying import Balanced
from llmscale.bottleneck import Moment, shares
from llmscale.feed import Feed
from llmscale.pipeline import Pipeline
from llmscale.stats import Bound, Progressed, Stats

BEAT_S = 0.1


class Meter:
    """Counts the time since the last look as what is found now."""

    def __init__(
        self,
        stats: Stats,
        pipeline: Pipeline,
        feed: Feed,
        balanced: Balanced,
        pools: Callable[[], Iterable[Pool]],
        endpoints: Sequence[Endpoint],
        *,
        is_local: bool,
    ) -> None:
        """`is_local`: all models run in this process; more calls at once would not be faster."""
        self._stats = stats
        self._pipeline = pipeline
        self._feed = feed
        self._balanced = balanced
        self._pools = pools
        self._endpoints = endpoints
        self._is_local = is_local
        # of a local model's threads nothing is known but that they are many
        self._cpu_s = time.thread_time if is_local else time.process_time
        self._ended = Progressed()
        self._began_s = self._seen_s = asyncio.get_running_loop().time()
        self._used_s = self._cpu_s()

    async def watch(self) -> None:
        """Look until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(BEAT_S)
                self.look()
        finally:
            self.look()

    def look(self) -> None:
        """Count what there is."""
        now_s, used_s = asyncio.get_running_loop().time(), self._cpu_s()
        passed_s = now_s - self._seen_s
        if passed_s <= 0:
            return
        moment = self._moment((used_s - self._used_s) / passed_s)
        for by, share in shares(moment).items():
            self._stats.held_s[by] += share * passed_s
        ended = self._stats.progressed()
        waiting = sum(moment.held.values())
        self._stats.series.add(
            now_s - self._began_s, passed_s, ended.minus(self._ended), moment.in_flight, waiting
        )
        self._seen_s, self._used_s, self._ended = now_s, used_s, ended

    def _moment(self, cpu: float) -> Moment:
        held: Counter[Bound] = Counter({"budget": self._balanced.waiting_for_money})
        for pool in self._pools():
            if pool.holds.by is not None:
                held[pool.holds.by] += pool.waiting
        pipeline = self._pipeline
        return Moment(
            held=held,
            in_flight=sum(endpoint.in_flight for endpoint in self._endpoints),
            backing_off=self._balanced.backing_off,
            workers=pipeline.workers,
            for_rows=pipeline.waiting_for_rows,
            for_room=pipeline.waiting_for_room,
            rows_wait_for=self._feed.waits_for,
            has_ended=pipeline.has_ended,
            can_take_more=not self._is_local,
            cpu=cpu,
        )
