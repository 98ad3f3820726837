"""Providers that follow a script on a virtual clock, and the real balance over them."""

import asyncio
import random
import sys
from collections import deque
from collections.abc import Callable, Sequence

from llmscale.accounting.prices import Prices
from llmscale.accounting.stats import Stats
from llmscale.core.errors import CallFailed
from llmscale.core.records import Failure, FailureKind, Reply, Request, Usage
from llmscale.engine.balance.adaptive_window import AdaptiveWindow
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.retry import Balancer, RetryPolicy
from llmscale.engine.balance.strategies import strategy
from llmscale.engine.limits import RateLimits
from tests.virtual_time import now_s

REQUEST = Request(model="sim/m", messages=[{"role": "user", "content": "x" * 400}])


class Scripted:
    """A provider that answers after `latency_s`, or with what `fault` says at that moment."""

    quota = None

    def __init__(
        self,
        latency_s: float,
        fault: Callable[[float], tuple[float, Failure] | None] = lambda _: None,
        output_tokens: Callable[[], int] = lambda: 100,
    ) -> None:
        self.arrived_s: list[float] = []
        self.failed_s: list[float] = []
        self._latency_s = latency_s
        self._fault = fault
        self._output_tokens = output_tokens

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer, or fail after the seconds that the fault takes."""
        self.arrived_s.append(now_s())
        usage = Usage(100, self._output_tokens())
        fault = self.refusal(usage) or self._fault(now_s())
        if fault is not None:
            self.failed_s.append(now_s())
            await asyncio.sleep(fault[0])
            raise CallFailed(fault[1])
        await asyncio.sleep(self._latency_s)
        return [Reply(text="x", finish_reason="stop", model="m", usage=usage) for _ in requests]

    def refusal(self, usage: Usage) -> tuple[float, Failure] | None:
        """Say whether a limit refuses the call."""
        del usage
        return None

    async def aclose(self) -> None:
        """Hold nothing."""


def failure(kind: FailureKind, retry_after_s: float | None = None) -> Failure:
    """Return a failure that is worth another try."""
    return Failure(kind=kind, message="scripted", retryable=True, retry_after_s=retry_after_s)


class WindowLimited(Scripted):
    """Refuses what is above its limits in the last 60 s, to the call and to the token."""

    rpm = 0
    tpm = 0
    tokens_let_in = 0

    def refusal(self, usage: Usage) -> tuple[float, Failure] | None:
        """Count what was let in; a refused call counts for nothing."""
        window = self.__dict__.setdefault("window", deque())
        while window and window[0][0] <= now_s() - 60:
            window.popleft()
        tokens = usage.input_tokens + usage.output_tokens
        if len(window) >= self.rpm or sum(t for _, t in window) + tokens > self.tpm:
            return 0.01, failure("rate_limited", 1.0)
        window.append((now_s(), tokens))
        self.tokens_let_in += tokens
        return None


class RateLimited(Scripted):
    """Lets `rate` calls a second in, and one second's worth at once; names the wait otherwise."""

    rate = 10.0
    _room = rate
    _seen_s = 0.0

    def refusal(self, usage: Usage) -> tuple[float, Failure] | None:
        """Refill and take one."""
        self._room = min(self.rate, self._room + (now_s() - self._seen_s) * self.rate)
        self._seen_s = now_s()
        if self._room < 1:
            return 0.01, failure("rate_limited", (1 - self._room) / self.rate)
        self._room -= 1
        return None


class Bench:
    """Real endpoints, pool and balance over scripted providers."""

    def __init__(
        self,
        providers: Sequence[Scripted],
        capacities: Sequence[int],
        limits: RateLimits | None = None,
    ) -> None:
        free = Prices(is_listed=False, is_free=True)
        pairs = zip(providers, capacities, strict=True)
        endpoints = [
            Endpoint(f"e{i}", p, Slots(c, AdaptiveWindow(c)), free, limits)
            for i, (p, c) in enumerate(pairs)
        ]
        pool = Pool(endpoints, strategy("least-loaded", "sim/m", random.Random(1)))
        policy = RetryPolicy(timeout_s=60)
        self.balanced = Balancer(lambda _: pool, policy, Stats(), random.Random(1))
        self.failed = 0

    async def work(self, width: int, rows: int = sys.maxsize, until_s: float = 1e9) -> None:
        """Send that many rows, at most `width` at a time, or for so long."""
        left = iter(range(rows))

        async def worker() -> None:
            while now_s() < until_s and next(left, None) is not None:
                try:
                    await self.balanced.send((REQUEST,))
                except CallFailed:
                    self.failed += 1

        tasks = [asyncio.create_task(worker()) for _ in range(width)]
        _, late = await asyncio.wait(tasks, timeout=None if until_s == 1e9 else until_s - now_s())
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
