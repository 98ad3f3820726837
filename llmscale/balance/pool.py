"""Endpoints with their load: which one takes the next call, and who waits for one.

Picking and counting are one step, places are handed over first come first served, and an endpoint
that asked to be left alone rests for every row. Knows nothing of what a call is.
"""

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from llmscale.balance.health import Health
from llmscale.balance.pace import Pace
from llmscale.contracts import Allowance, Provider
from llmscale.cost import Prices
from llmscale.errors import CallStopped
from llmscale.records import FailureKind


class Endpoint:
    """One address with its load: how many calls it has, may have, and until when it rests."""

    def __init__(
        self,
        name: str,
        provider: Provider,
        capacity: int,
        prices: Prices,
        allowance: Allowance | None = None,
    ) -> None:
        self.name = name
        self.provider = provider
        self.capacity = capacity
        self.prices = prices
        self.allowance = allowance  # None: no limit
        self.health = Health()
        self.pace = Pace(capacity)
        self.in_flight = 0
        self.in_flight_when_ill = 0  # of those: what does not stand in a probe's way
        self.rests_until_s = 0.0  # on the event loop's clock
        self.pools: list[Pool] = []  # where it takes calls from

    @property
    def utilisation(self) -> float:
        """The share of the capacity that is in use."""
        return self.in_flight / self.capacity

    def has_place(self) -> bool:
        """Tell whether one more call may be in flight; after an illness, one at all."""
        if self.health.is_probed and self.in_flight > self.in_flight_when_ill:
            return False
        return self.in_flight < self.capacity

    def opens_in_s(self, now_s: float, tokens: int) -> float:
        """Return the seconds until rest and limits let a call of `tokens` out, 0 for now."""
        rest_s = max(self.rests_until_s - now_s, self.pace.wait_s(now_s))
        return rest_s if self.allowance is None else max(rest_s, self.allowance.wait_s(tokens))

    def is_free(self, now_s: float, tokens: int = 0) -> bool:
        """Tell whether a call may start now."""
        return self.has_place() and not self.opens_in_s(now_s, tokens)

    def start(self, now_s: float, tokens: int) -> None:
        """Count a call."""
        self.in_flight += 1
        self.pace.start(now_s)
        if self.allowance is not None:
            self.allowance.take(tokens)

    def answered(self, began_s: float, now_s: float) -> None:
        """Note an answer: the endpoint is well, and after an illness the calls come back."""
        if self.health.is_probed:
            self.pace.begin(now_s)
        self.pace.learn(now_s - began_s)
        self.health.answered(began_s)

    def failed(self, kind: FailureKind, began_s: float, now_s: float) -> float | None:
        """Note a failure; return for how many seconds to rest the endpoint, None for not at all."""
        rest_s = self.health.failed(kind, began_s, now_s)
        if rest_s is not None:
            self.in_flight_when_ill = self.in_flight
        return rest_s

    def end(self) -> None:
        """Count a call that is over; of those in flight, the oldest are taken to end first."""
        self.in_flight -= 1
        self.in_flight_when_ill = max(0, self.in_flight_when_ill - 1)


class _Turn(NamedTuple):
    """A call that waits for a place."""

    number: int  # in the order of arrival, over all pools
    place: asyncio.Future[Endpoint]
    tried: set[Endpoint]
    tokens: int


_arrivals = itertools.count()


class Pool:
    """Endpoints that answer for the same model. Calls wait for one in the order they came."""

    def __init__(self, endpoints: Sequence[Endpoint], dice: random.Random) -> None:
        self._endpoints = endpoints
        self._dice = dice
        self._waiting: deque[_Turn] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopped = False
        for endpoint in endpoints:
            endpoint.pools.append(self)
        limits = [e.allowance.most_tokens if e.allowance else None for e in endpoints]
        known = [limit for limit in limits if limit is not None]
        self.has_alternatives = len(endpoints) > 1
        self.counts_tokens = bool(known)  # at least one endpoint has a limit of tokens
        self.most_tokens = max(known) if known and len(known) == len(limits) else None
        """The most tokens that a call can have; None: any number."""

    async def acquire(self, tried: set[Endpoint], tokens: int = 0) -> Endpoint:
        """Return the endpoint that is used least, with a call of `tokens` counted in already.

        One in `tried` is taken only where no other is free. Raises `CallStopped` after `stop`.
        """
        if self._stopped:
            raise CallStopped
        loop = asyncio.get_running_loop()
        if not self._waiting:
            chosen = self._pick(loop.time(), tried, tokens)
            if chosen is not None:
                return chosen
        place: asyncio.Future[Endpoint] = loop.create_future()
        self._waiting.append(_Turn(next(_arrivals), place, tried, tokens))
        self._serve()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release(place.result())  # handed over in the moment of the cancellation
            raise

    def release(self, endpoint: Endpoint) -> None:
        """Give the place back; the first who waits for it has it, in whichever pool."""
        endpoint.end()
        waiting = [pool for pool in endpoint.pools if pool._first() is not None]
        if len(waiting) > 1:
            waiting.sort(key=lambda pool: pool._waiting[0].number)
        for pool in waiting:
            pool._serve()

    def rest(self, endpoint: Endpoint, seconds: float) -> None:
        """Send an endpoint nothing for a while, for any row."""
        until_s = asyncio.get_running_loop().time() + seconds
        endpoint.rests_until_s = max(endpoint.rests_until_s, until_s)
        endpoint.pace.begin(endpoint.rests_until_s)

    def untried(self, tried: set[Endpoint]) -> bool:
        """Tell whether an endpoint that does not rest is left to try."""
        now_s = asyncio.get_running_loop().time()
        return any(e.rests_until_s <= now_s and e not in tried for e in self._endpoints)

    def rest_left_s(self) -> float:
        """Return the seconds until the first endpoint is rested; 0 where one is already."""
        now_s = asyncio.get_running_loop().time()
        return max(0.0, min(e.rests_until_s for e in self._endpoints) - now_s)

    def stop(self) -> None:
        """Begin no further call; who waits is sent away."""
        self._stopped = True
        for turn in self._waiting:
            if not turn.place.done():
                turn.place.set_exception(CallStopped())
        self._waiting.clear()

    def _pick(self, now_s: float, tried: set[Endpoint], tokens: int) -> Endpoint | None:
        """Choose and count in one step, so that no two calls see the same free place."""
        free = [e for e in self._endpoints if e.is_free(now_s, tokens)]
        fresh = [e for e in free if e not in tried] if tried else free
        candidates = fresh or free
        if not candidates:
            return None
        if len(candidates) == 1:
            chosen = candidates[0]
        else:
            least = min(e.utilisation for e in candidates)
            chosen = self._dice.choice([e for e in candidates if e.utilisation == least])
        chosen.start(now_s, tokens)
        return chosen

    def _serve(self) -> None:
        """Hand free places to those who wait, first come first served."""
        loop = asyncio.get_running_loop()
        while (turn := self._first()) is not None:
            chosen = self._pick(loop.time(), turn.tried, turn.tokens)
            if chosen is None:
                self._set_alarm(loop, turn.tokens)
                return
            self._waiting.popleft()
            turn.place.set_result(chosen)

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
        waits_s = [e.opens_in_s(now_s, tokens) for e in self._endpoints if e.has_place()]
        if waits_s:
            self._alarm = loop.call_at(now_s + min(waits_s), self._serve)
