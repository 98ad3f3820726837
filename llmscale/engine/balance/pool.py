"""Endpoints that answer for one model: which one takes the next call, and who waits for one.

Picking and counting are one step, places are handed over first come first served, and an endpoint
that asked to be left alone rests for every row. Knows nothing of what a call is.
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
    """A call that waits for a place."""

    number: int  # in the order of arrival, over all pools
    place: asyncio.Future[Endpoint]
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
        """`patience_s`: calls fail at once while no endpoint will be rested for so long."""
        self._endpoints = endpoints
        self._strategy = strategy
        self.patience_s = patience_s
        self.retries = RetryBudget()
        self.holds = WaitCause()
        self._waiting: deque[_Turn] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopped = False
        for endpoint in endpoints:
            endpoint.queues.append(self)
        # another endpoint, or whoever stands in for this pool
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
        `CallFailed` where all endpoints rest for longer than anyone is to wait.
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
        place: asyncio.Future[Endpoint] = loop.create_future()
        self._waiting.append(_Turn(next(_arrivals), place, tried, tokens))
        self.serve()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release(place.result())  # handed over in the moment of the cancellation
            self.serve()  # who comes next may need less, or wait for something else
            raise

    def release(self, endpoint: Endpoint) -> None:
        """Give the place back; the first who waits for it has it, in whichever pool."""
        endpoint.end()
        waiting = [(n, q) for q in endpoint.queues if (n := q.first_arrival) is not None]
        for _, queue in sorted(waiting, key=itemgetter(0)):
            queue.serve()

    def rest(self, endpoint: Endpoint, seconds: float, by: Cause = "failing") -> None:
        """Send an endpoint nothing for a while, for any row; `by`: what makes it rest."""
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
        """Tell whether no limit will ever let a call of `tokens` out."""
        most = self.max_call_tokens
        return most is not None and tokens > most

    def too_large(self, tokens: int) -> CallFailed:
        """Say so."""
        message = (
            f"needs about {tokens} tokens, and the limit is {self.max_call_tokens:.0f} a minute"
        )
        return CallFailed(Failure(kind="invalid_request", message=message), 0)

    @property
    def waiting(self) -> int:
        """Calls that wait for a place; those that have given up may be among them."""
        return len(self._waiting)

    @property
    def ejections(self) -> int:
        """How often an endpoint was sent to rest because it kept failing."""
        return sum(e.health.ejections for e in self._endpoints)

    def untried(self, tried: set[Endpoint]) -> bool:
        """Tell whether an endpoint that does not rest is left to try."""
        now_s = asyncio.get_running_loop().time()
        return any(e.cooldown_until_s <= now_s and e not in tried for e in self._endpoints)

    def cooldown_left_s(self) -> float:
        """Return the seconds until the first endpoint is rested; 0 where one is already."""
        now_s = asyncio.get_running_loop().time()
        return max(0.0, min(e.cooldown_until_s for e in self._endpoints) - now_s)

    def stop(self) -> None:
        """Begin no further call; who waits is sent away."""
        self._stopped = True
        self._send_away(CallStopped)

    def _is_exhausted(self) -> bool:
        """Tell whether all endpoints have been ill, or will rest, for longer than anyone waits."""
        if self.patience_s == float("inf"):
            return False
        now_s = asyncio.get_running_loop().time()
        ill_s = min(e.health.open_for_s(now_s) for e in self._endpoints)
        return max(ill_s, self.cooldown_left_s()) > self.patience_s

    def _exhausted(self) -> CallFailed:
        message = f"no endpoint answers; the next try is in {self.cooldown_left_s():.0f} s"
        return CallFailed(Failure(kind="overloaded", message=message, retryable=True), 0)

    def _send_away(self, error: Callable[[], Exception]) -> None:
        """Fail who waits."""
        for turn in self._waiting:
            if not turn.place.done():
                turn.place.set_exception(error())
        self._waiting.clear()
        self.holds.switch(None, asyncio.get_running_loop().time())

    def _pick(self, now_s: float, tried: set[Endpoint], tokens: int) -> Endpoint | None:
        """Choose and count in one step, so that no two calls see the same free place."""
        free = [e for e in self._endpoints if e.is_free(now_s, tokens)]
        fresh = [e for e in free if e not in tried] if tried else free
        candidates = fresh or free
        if not candidates:
            return None
        chosen = self._strategy(candidates)
        chosen.start(now_s, tokens)
        return chosen

    def serve(self) -> None:
        """Hand free places to those who wait, first come first served."""
        loop = asyncio.get_running_loop()
        while (turn := self._first()) is not None:
            if self.is_too_large(turn.tokens):  # a limit was lowered while it waited
                self._waiting.popleft().place.set_exception(self.too_large(turn.tokens))
                continue
            chosen = self._pick(loop.time(), turn.tried, turn.tokens)
            if chosen is None:
                self._set_alarm(loop, turn.tokens)
                return
            self._waiting.popleft()
            turn.place.set_result(chosen)
        self.holds.switch(None, loop.time())

    def _no_place(self) -> Cause:
        """Tell why no endpoint has a place: of several reasons, the one that is easiest to mend."""
        held = {e.no_place_by() for e in self._endpoints}
        order: tuple[Cause, ...] = ("width", "capacity", "ramp", "saturated", "local", "failing")
        return next(by for by in order if by in held)

    def _first(self) -> _Turn | None:
        """Return who has waited longest, leaving out who has given up."""
        while self._waiting and self._waiting[0].place.done():
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, tokens: int) -> None:
        """Come back when a rest or a limit is over; a place that frees up calls by itself."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now_s = loop.time()
        placed = [(e.opens_in_s(now_s, tokens), e) for e in self._endpoints if e.has_place()]
        wait_s, next_one = min(placed, key=itemgetter(0), default=(float("inf"), None))
        by = self._no_place() if next_one is None else next_one.held_by(now_s, tokens)
        self.holds.switch(by, now_s)
        if wait_s != float("inf"):  # else another one, that has no place now, will let it out
            self._alarm = loop.call_at(now_s + wait_s, self.serve)
