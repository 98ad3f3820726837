"""Requests and tokens per minute of an endpoint: how long to wait, what was taken, what was unused.

Continuous leaky buckets on the event loop's clock (aiolimiter). A bucket is asked and never sleeps:
who waits for it, and in which order, is decided where the calls queue.
"""

from collections import deque

from aiolimiter import AsyncLimiter

PERIOD_S = 60.0
BURST_SHARE = 0.01
_HAIR = 1e-6
_SHORTEST_WAIT_S = 1e-6  # a shorter one may end before the clock has moved


class Bucket(AsyncLimiter):
    """So many units a minute, in any minute that one may look at.

    What may go out at once (the burst, 1 % of the limit) is taken off what drains in a minute, so
    that their sum is the limit. A larger amount waits until it has drained as a whole, and the
    minute after it drains so much less.
    """

    def __init__(self, per_minute: float, unit: float = 0.0) -> None:
        """`unit`: the one amount that is ever taken, 0 where amounts differ."""
        super().__init__(max(per_minute, unit), PERIOD_S)
        self._per_minute = per_minute
        self._burst = max(unit, per_minute * BURST_SHARE)
        # units that are all alike leave room for one more: a window's first is of the burst
        self._drained = per_minute - self._burst + unit * (1 - _HAIR)
        self._large: deque[tuple[float, float]] = deque()  # until when, what drains a minute
        self._set_rate()

    def wait_s(self, amount: float) -> float:
        """Return the seconds until `amount` may be taken: 0 when now, infinite when never."""
        if amount > self.max_rate:
            return float("inf")
        self._leak()
        over = self._level + amount - self.max_rate
        return max(_SHORTEST_WAIT_S, self._drained_in_s(over)) if over > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        """Take it, whether it is there or not."""
        self._leak()
        if amount <= self._burst:  # what is saved up beyond the burst is for larger ones
            self._level = max(self._level, self.max_rate - self._burst) + amount
            return
        self._level = max(self._level + amount, self.max_rate)
        drained = max(self._per_minute - amount, 0.0)
        while self._large and self._large[-1][1] >= drained:
            self._large.pop()
        self._large.append((self._last_check + PERIOD_S, drained))
        self._set_rate()

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        self._leak()
        self._level = max(0.0, self._level - amount)

    def _drained_in_s(self, amount: float) -> float:
        at_s = self._last_check
        for until_s, drained in self._large:
            drains = (until_s - at_s) * drained / PERIOD_S
            if drains >= amount:
                return at_s - self._last_check + amount / drained * PERIOD_S
            at_s, amount = until_s, amount - drains
        return at_s - self._last_check + amount / self._drained * PERIOD_S

    def _leak(self) -> None:
        """Drain up to now, past the ends of the minutes in which less drains."""
        now_s = self._loop.time()
        while self._large and self._large[0][0] <= now_s:
            until_s, drained = self._large.popleft()
            drains = (until_s - self._last_check) * drained / PERIOD_S
            self._level = max(0.0, self._level - drains)
            self._last_check = until_s
            self._set_rate()
        super()._leak()

    def _set_rate(self) -> None:
        drained = self._large[0][1] if self._large else self._drained
        self._rate_per_sec = drained / PERIOD_S


class Limits:
    """The limits of one endpoint; None: there is none."""

    def __init__(self, requests_per_min: float | None, tokens_per_min: float | None) -> None:
        self._requests = Bucket(requests_per_min, 1.0) if requests_per_min else None
        self._tokens = Bucket(tokens_per_min) if tokens_per_min else None
        self.most_tokens = tokens_per_min
        """The most that one call can ever have; None: any number, and tokens need no estimate."""

    def wait_s(self, tokens: int) -> float:
        """Return the seconds until a call of `tokens` may go out, 0 when it may now."""
        requests_s = self._requests.wait_s(1) if self._requests else 0.0
        tokens_s = self._tokens.wait_s(tokens) if self._tokens else 0.0
        return max(requests_s, tokens_s)

    def take(self, tokens: int) -> None:
        """Count a call that goes out."""
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(tokens)

    def correct(self, taken: int, used: int) -> None:
        """Replace the estimate that was taken by the tokens that were used."""
        if self._tokens:
            self._tokens.give_back(taken - used)
