"""Looks at a run ten times a second: what is in flight, what has ended, what holds it back."""

import asyncio
import time
from collections import Counter

from llmscale.assemble.stack import Opened, Stack
from llmscale.bottleneck import Moment, shares
from llmscale.feed import Feed
from llmscale.pipeline import Pipeline
from llmscale.stats import Bound, Progressed, Stats

BEAT_S = 0.1


class Meter:
    """Counts the time since the last look as what is found now."""

    def __init__(
        self, stats: Stats, pipeline: Pipeline, feed: Feed, stack: Stack, opened: Opened
    ) -> None:
        self._stats = stats
        self._pipeline = pipeline
        self._feed = feed
        self._stack = stack
        self._endpoints = list(opened.endpoints.values())
        self._is_local = opened.is_local
        # of a local model's threads nothing is known but that they are many
        self._cpu_s = time.thread_time if opened.is_local else time.process_time
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
        held: Counter[Bound] = Counter({"budget": self._stack.balanced.waiting_for_money})
        for pool in self._stack.pools.opened():
            if pool.holds.by is not None:
                held[pool.holds.by] += pool.waiting
        pipeline = self._pipeline
        return Moment(
            held=held,
            in_flight=sum(endpoint.in_flight for endpoint in self._endpoints),
            backing_off=self._stack.balanced.backing_off,
            workers=pipeline.workers,
            for_rows=pipeline.waiting_for_rows,
            for_room=pipeline.waiting_for_room,
            rows_wait_for=self._feed.waits_for,
            has_ended=pipeline.has_ended,
            can_take_more=not self._is_local,
            cpu=cpu,
        )
