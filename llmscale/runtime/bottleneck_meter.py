"""Samples a run about ten times a second: what is in flight, what has ended, what limits it.

At random moments, so that a regular pattern is not always sampled in the same state.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping

from llmscale.accounting.stats import Cause, Progressed, Stats
from llmscale.engine.feed import Feed
from llmscale.engine.outcome_writer import OutcomeWriter
from llmscale.engine.pipeline import Pipeline
from llmscale.observe.bottleneck import Snapshot, shares
from llmscale.runtime.cpu_clock import CpuClock
from llmscale.runtime.layer_stack import LayerStack, Opened

BEAT_S = 0.1  # on average
FIRST_BEAT_S = 0.005  # then twice as long each time: a short run is sampled too


class BottleneckMeter:
    """Attributes the time since the last sample to the causes that are found now."""

    def __init__(
        self,
        stats: Stats,
        pipeline: Pipeline,
        feed: Feed,
        writer: OutcomeWriter,
        stack: LayerStack,
        opened: Opened,
    ) -> None:
        self._stats = stats
        self._pipeline = pipeline
        self._feed = feed
        self._writer = writer
        self._stack = stack
        self._endpoints = list(opened.endpoints.values())
        self._processor = CpuClock(threads_count=not opened.is_in_process)
        self._rng = random.Random(0)  # noqa: S311 (moments, no secret)
        self._ended = Progressed()
        self._began_s = self._seen_s = asyncio.get_running_loop().time()
        self._had_s = self._lacked_s = 0.0
        self._stood_still_s = 0.0

    async def watch(self) -> None:
        """Sample until cancelled."""
        beat_s = FIRST_BEAT_S
        found: Mapping[Cause, float] = {"start": 1.0}
        with self._processor:
            self._core_s()
            try:
                while True:
                    await asyncio.sleep(beat_s * self._rng.uniform(0.5, 1.5))
                    beat_s = min(2 * beat_s, BEAT_S)
                    found = self.look()
            finally:
                self.look(found)  # all is over by now: the last causes lasted until then

    def look(self, found: Mapping[Cause, float] | None = None) -> Mapping[Cause, float]:
        """Count the causes and return them; `found`: instead of those of now."""
        now_s = asyncio.get_running_loop().time()
        passed_s, self._seen_s = now_s - self._seen_s, now_s
        had_s, lacked_s = self._core_s()
        moment = self._moment(had_s / max(passed_s, 1e-9), lacked_s / max(passed_s, 1e-9))
        found = shares(moment) if found is None else found
        still_s = min(self._still_s(lacked_s), passed_s)
        for by, share in found.items():
            self._stats.causes_s[by] += share * (passed_s - still_s)
        self._stats.causes_s["writing"] += still_s
        ended, before = self._stats.progressed(), self._ended
        self._ended = ended
        self._stats.series.add(
            now_s - self._began_s,
            passed_s,
            ended.minus(before),
            moment.in_flight + moment.in_full,
            sum(moment.held.values()),
        )
        return found

    def _core_s(self) -> tuple[float, float]:
        """Return the seconds on a core, and waiting for one, since the last sample."""
        before = self._had_s, self._lacked_s
        self._had_s, self._lacked_s = self._processor.had_s(), self._processor.lacked_s()
        return self._had_s - before[0], self._lacked_s - before[1]

    def _still_s(self, lacked_s: float) -> float:
        """Return the least time that the output accepted nothing since the last sample."""
        before, self._stood_still_s = self._stood_still_s, self._writer.stood_still_s
        return max(0.0, self._stood_still_s - before - lacked_s)

    def _moment(self, cpu: float, starved: float) -> Snapshot:
        pipeline, balanced = self._pipeline, self._stack.balanced
        held: Counter[Cause] = Counter({"budget": balanced.waiting_for_money})
        for pool in self._stack.pools.opened():
            if pool.wait_cause.by is not None:
                held[pool.wait_cause.by] += pool.waiting
        in_flight = in_full = 0
        for endpoint in self._endpoints:
            if endpoint.is_full:
                in_full += endpoint.in_flight
            else:
                in_flight += endpoint.in_flight
        return Snapshot(
            held=held,
            in_flight=in_flight,
            in_full=in_full,
            backing_off=balanced.backing_off,
            rows=pipeline.in_flight,
            waits_for=pipeline.waits_for,
            rows_wait_for=self._feed.waits_for,
            has_ended=pipeline.has_ended or self._feed.has_ended,
            cpu=cpu,
            starved=starved,
        )
