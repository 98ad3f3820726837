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

from llmscale.contracts import Provider
from llmscale.cost import Prices
from llmscale.errors import CallStopped


class Endpoint:
    """One address with its load: how many calls it has, may have, and until when it rests."""

    def __init__(self, name: str, provider: Provider, capacity: int, prices: Prices) -> None:
        self.name = name
        self.provider = provider
        self.capacity = capacity
        self.prices = prices
        self.in_flight = 0
        self.rests_until_s = 0.0  # on the event loop's clock
        self.pools: list[Pool] = []  # where it takes calls from

    @property
    def utilisation(self) -> float:
        """The share of the capacity that is in use."""
        return self.in_flight / self.capacity

    def is_free(self, now_s: float) -> bool:
        """Tell whether a call may start now."""
        return self.in_flight < self.capacity and self.rests_until_s <= now_s


class _Turn(NamedTuple):
    """A call that waits for a place."""

    number: int  # in the order of arrival, over all pools
    place: asyncio.Future[Endpoint]
    tried: set[Endpoint]


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

    async def acquire(self, tried: set[Endpoint]) -> Endpoint:
        """Return the endpoint that is used least, its load already raised.

        One in `tried` is taken only where no other is free. Raises `CallStopped` after `stop`.
        """
        if self._stopped:
            raise CallStopped
        loop = asyncio.get_running_loop()
        if not self._waiting:
            chosen = self._pick(loop.time(), tried)
            if chosen is not None:
                return chosen
        place: asyncio.Future[Endpoint] = loop.create_future()
        self._waiting.append(_Turn(next(_arrivals), place, tried))
        self._serve()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release(place.result())  # handed over in the moment of the cancellation
            raise

    def release(self, endpoint: Endpoint) -> None:
        """Give the place back; the first who waits for it has it, in whichever pool."""
        endpoint.in_flight -= 1
        waiting = [pool for pool in endpoint.pools if pool._first() is not None]
        if len(waiting) > 1:
            waiting.sort(key=lambda pool: pool._waiting[0].number)
        for pool in waiting:
            pool._serve()

    def rest(self, endpoint: Endpoint, seconds: float) -> None:
        """Send an endpoint nothing for a while, for any row."""
        until_s = asyncio.get_running_loop().time() + seconds
        endpoint.rests_until_s = max(endpoint.rests_until_s, until_s)

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

    def _pick(self, now_s: float, tried: set[Endpoint]) -> Endpoint | None:
        """Choose and count in one step, so that no two calls see the same free place."""
        free = [e for e in self._endpoints if e.is_free(now_s)]
        fresh = [e for e in free if e not in tried] if tried else free
        candidates = fresh or free
        if not candidates:
            return None
        if len(candidates) == 1:
            chosen = candidates[0]
        else:
            least = min(e.utilisation for e in candidates)
            chosen = self._dice.choice([e for e in candidates if e.utilisation == least])
        chosen.in_flight += 1
        return chosen

    def _serve(self) -> None:
        """Hand free places to those who wait, first come first served."""
        loop = asyncio.get_running_loop()
        while (turn := self._first()) is not None:
            chosen = self._pick(loop.time(), turn.tried)
            if chosen is None:
                self._set_alarm(loop)
                return
            self._waiting.popleft()
            turn.place.set_result(chosen)

    def _first(self) -> _Turn | None:
        """Return who has waited longest, leaving out who has given up."""
        while self._waiting and self._waiting[0].place.done():
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Come back when a rest is over; a place that frees up calls by itself."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now_s = loop.time()
        rests = [e.rests_until_s for e in self._endpoints if e.rests_until_s > now_s]
        if rests:
            self._alarm = loop.call_at(min(rests), self._serve)
