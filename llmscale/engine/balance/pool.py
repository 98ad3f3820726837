"""Endpoints that answer for one model: which one takes the next call, and which calls wait.

Picking and counting are one step, slots are handed over first come first served, and an endpoint
that sent Retry-After cools down for every row. Knows nothing of what a call is.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Container, Sequence
from operator import itemgetter
from typing import NamedTuple

from llmscale.accounting.stats import Cause
from llmscale.core.errors import CallFailed, CallStopped
from llmscale.core.records import Failure
from llmscale.engine.balance.endpoint import Endpoint
from llmscale.engine.balance.retry_budget import RetryBudget
from llmscale.engine.balance.strategies import Strategy
from llmscale.engine.balance.wait_cause import WaitCause


class _Turn(NamedTuple):
    """A call that waits for a slot."""

    number: int  # in the order of arrival, over all pools
    slot: asyncio.Future[Endpoint]
    tried: set[Endpoint]
    tokens: int


_arrivals = itertools.count()


class Pool:
    """Endpoints that answer for the same model. Calls wait for one in the order they came."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        strategy: Strategy,
        *,
        patience_s: float = float("inf"),
    ) -> None:
        """`patience_s`: calls fail at once while every endpoint cools down for longer than that."""
        self._endpoints = endpoints
        self._strategy = strategy
        self.patience_s = patience_s
        self.retries = RetryBudget()
        self.wait_cause = WaitCause()
        self._waiting: deque[_Turn] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        for endpoint in endpoints:
            endpoint.queues.append(self)
        # another endpoint, or a fallback model
        self.has_alternatives = len(endpoints) > 1 or self.has_fallback

    @property
    def has_fallback(self) -> bool:
        """Tell whether another model answers where this one can't."""
        return self.patience_s != float("inf")

    def has_all(self, endpoints: Container[Endpoint]) -> bool:
        """Tell whether every endpoint of the pool is among these."""
        return all(endpoint in endpoints for endpoint in self._endpoints)

    @property
    def counts_tokens(self) -> bool:
        """Tell whether an endpoint has a limit of tokens; one may be learned on the way."""
        for endpoint in self._endpoints:
            if endpoint.limiter is not None and endpoint.limiter.max_call_tokens is not None:
                return True
        return False

    @property
    def max_call_tokens(self) -> float | None:
        """The most tokens that a call can have; None: any number."""
        limits = [e.limiter.max_call_tokens if e.limiter else None for e in self._endpoints]
        known = [limit for limit in limits if limit is not None]
        return max(known) if known and len(known) == len(limits) else None

    async def acquire(self, tried: set[Endpoint], tokens: int = 0) -> Endpoint:
        """Return the endpoint that the strategy names, with a call of `tokens` counted in already.

        One in `tried` is taken only where no other is free. Raises `CallStopped` after `stop`, and
        `CallFailed` where all endpoints cool down for longer than a call is to wait.
        """
        if self._stopped:
            raise CallStopped
        loop = asyncio.get_running_loop()
        if not self._waiting:
            chosen = self._pick(loop.time(), tried, tokens)
            if chosen is not None:
                return chosen
            if self._is_exhausted():
                raise self._exhausted()
        slot: asyncio.Future[Endpoint] = loop.create_future()
        self._waiting.append(_Turn(next(_arrivals), slot, tried, tokens))
        self.serve()
        try:
            return await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled() and slot.exception() is None:
                self.release(slot.result())  # handed over in the moment of the cancellation
            self.serve()  # the next call may need less, or wait for something else
            raise

    def release(self, endpoint: Endpoint) -> None:
        """Free the slot; the call that has waited for it longest gets it, in whichever pool."""
        endpoint.end()
        waiting = [(n, q) for q in endpoint.queues if (n := q.first_arrival) is not None]
        for _, queue in sorted(waiting, key=itemgetter(0)):
            queue.serve()

    def cool_down(self, endpoint: Endpoint, seconds: float, by: Cause = "failing") -> None:
        """Send an endpoint nothing for a while, for any row; `by`: the cause."""
        until_s = asyncio.get_running_loop().time() + seconds
        if until_s > endpoint.cooldown_until_s:
            endpoint.cooldown_until_s, endpoint.cooldown_cause = until_s, by
        endpoint.pace.begin(endpoint.cooldown_until_s)
        for queue in endpoint.queues:
            queue.fail_if_exhausted()

    def fail_if_exhausted(self) -> None:
        """Fail the calls that wait where no endpoint is available within `patience_s`."""
        if self._waiting and self._is_exhausted():
            self._send_away(self._exhausted)

    @property
    def first_arrival(self) -> int | None:
        """The number of the call that has waited longest, over all pools; None: no call waits."""
        first = self._first()
        return None if first is None else first.number

    def is_too_large(self, tokens: int) -> bool:
        """Tell whether every limit is below a call of `tokens`."""
        bound = self.max_call_tokens
        return bound is not None and tokens > bound

    def too_large(self, tokens: int) -> CallFailed:
        """Say so."""
        message = (
            f"needs about {tokens} tokens, and the limit is {self.max_call_tokens:.0f} a minute"
        )
        return CallFailed(Failure(kind="invalid_request", message=message), 0)

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot; those that were cancelled may be among them."""
        return len(self._waiting)

    @property
    def trips(self) -> int:
        """How often the circuit of an endpoint opened."""
        return sum(e.breaker.trips for e in self._endpoints)

    def untried(self, tried: set[Endpoint]) -> bool:
        """Tell whether an endpoint that does not cool down is left to try."""
        now_s = asyncio.get_running_loop().time()
        return any(e.cooldown_until_s <= now_s and e not in tried for e in self._endpoints)

    def cooldown_left_s(self) -> float:
        """Return the seconds until the first cooldown ends; 0 where an endpoint has none."""
        now_s = asyncio.get_running_loop().time()
        return max(0.0, min(e.cooldown_until_s for e in self._endpoints) - now_s)

    def stop(self) -> None:
        """Start no further call; those that wait fail with `CallStopped`."""
        self._stopped = True
        self._send_away(CallStopped)

    def _is_exhausted(self) -> bool:
        """Tell whether all endpoints fail, or cool down, for longer than a call waits."""
        if self.patience_s == float("inf"):
            return False
        now_s = asyncio.get_running_loop().time()
        tripped_s = min(e.breaker.tripped_for_s(now_s) for e in self._endpoints)
        return max(tripped_s, self.cooldown_left_s()) > self.patience_s

    def _exhausted(self) -> CallFailed:
        message = f"no endpoint answers; the next try is in {self.cooldown_left_s():.0f} s"
        return CallFailed(Failure(kind="overloaded", message=message, retryable=True), 0)

    def _send_away(self, error: Callable[[], Exception]) -> None:
        """Fail the calls that wait."""
        for turn in self._waiting:
            if not turn.slot.done():
                turn.slot.set_exception(error())
        self._waiting.clear()
        self.wait_cause.switch(None, asyncio.get_running_loop().time())

    def _pick(self, now_s: float, tried: set[Endpoint], tokens: int) -> Endpoint | None:
        """Choose and count in one step, so that no two calls see the same free slot."""
        free = [e for e in self._endpoints if e.is_free(now_s, tokens)]
        fresh = [e for e in free if e not in tried] if tried else free
        candidates = fresh or free
        if not candidates:
            return None
        chosen = self._strategy(candidates)
        chosen.start(now_s, tokens)
        return chosen

    def serve(self) -> None:
        """Hand free slots to the calls that wait, first come first served."""
        loop = asyncio.get_running_loop()
        while (turn := self._first()) is not None:
            if self.is_too_large(turn.tokens):  # a limit was lowered while it waited
                self._waiting.popleft().slot.set_exception(self.too_large(turn.tokens))
                continue
            chosen = self._pick(loop.time(), turn.tried, turn.tokens)
            if chosen is None:
                self._set_timer(loop, turn.tokens)
                return
            self._waiting.popleft()
            turn.slot.set_result(chosen)
        self.wait_cause.switch(None, loop.time())

    def _no_slot_cause(self) -> Cause:
        """Return why no endpoint has a slot: of several causes, the one that is easiest to mend."""
        causes = {e.no_slot_cause() for e in self._endpoints}
        order: tuple[Cause, ...] = ("width", "capacity", "ramp", "saturated", "local", "failing")
        return next(cause for cause in order if cause in causes)

    def _first(self) -> _Turn | None:
        """Return the call that has waited longest, leaving out those that were cancelled."""
        while self._waiting and self._waiting[0].slot.done():
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    def _set_timer(self, loop: asyncio.AbstractEventLoop, tokens: int) -> None:
        """Serve again when a cooldown or a limit has passed; a freed slot serves at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = loop.time()
        open_ = [(e.opens_in_s(now_s, tokens), e) for e in self._endpoints if e.has_slot()]
        wait_s, next_one = min(open_, key=itemgetter(0), default=(float("inf"), None))
        by = self._no_slot_cause() if next_one is None else next_one.wait_cause(now_s, tokens)
        self.wait_cause.switch(by, now_s)
        if wait_s != float("inf"):  # else one that has no slot now serves when it has
            self._timer = loop.call_at(now_s + wait_s, self.serve)
