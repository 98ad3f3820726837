"""So many units a minute: how long to wait, what was taken, what was unused.

A continuous leaky bucket on the event loop's clock (aiolimiter). It is asked and never sleeps: who
waits for it, and in which order, is decided where the calls queue.
"""

from collections import deque
from collections.abc import Sequence

from aiolimiter import AsyncLimiter

PERIOD_S = 60.0
BURST_SHARE = 0.01
_HAIR = 1e-6
_SHORTEST_WAIT_S = 1e-6  # a shorter one may end before the clock has moved


class TokenBucket(AsyncLimiter):
    """So many units a minute, in any minute that one may look at.

    What may go out at once (the burst, 1 % of the limit) is taken off what drains in a minute, so
    that their sum is the limit, unless a burst is asked for. A larger amount waits until it has
    drained as a whole, and the minute after it drains so much less.
    """

    def __init__(
        self, per_minute: float, unit: float = 0.0, burst_share: float | None = None
    ) -> None:
        """`unit`: the one amount that is ever taken, 0 where amounts differ.

        `burst_share`: of a minute, what may go out at once beside the limit: a minute may then hold
        that much more. None: what may go out at once is a part of the limit.
        """
        super().__init__(max(per_minute, unit), PERIOD_S)
        self.per_minute = per_minute
        self._burst = max(unit, per_minute * (burst_share or BURST_SHARE))
        # units that are all alike leave room for one more: a window's first is of the burst
        even = per_minute - self._burst + unit * (1 - _HAIR)
        self._drained = even if burst_share is None else per_minute
        # of amounts that differ, one as large as the limit is the last that is free again
        self._at_once = self._burst if unit else self.max_rate
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
        drained = max(self.per_minute - amount, 0.0)
        while self._large and self._large[-1][1] >= drained:
            self._large.pop()
        self._large.append((self._last_check + PERIOD_S, drained))
        self._set_rate()

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        self._leak()
        self._level = max(0.0, self._level - amount)

    def full_in_s(self) -> float:
        """Return the seconds until as much may go out at once as ever may."""
        return self.wait_s(self._at_once)

    def state(self) -> list[float]:
        """Return what was taken and has not drained yet, for a bucket that goes on from there."""
        large = [number for pair in self._large for number in pair]
        return [self._level, self._last_check, float(len(self._large)), *large]

    def resume(self, numbers: Sequence[float]) -> Sequence[float]:
        """Go on from a `state` at the front of `numbers`; return the others."""
        self._level, self._last_check, count = numbers[:3]
        end = 3 + 2 * int(count)
        self._large.extend(zip(numbers[3:end:2], numbers[4:end:2], strict=True))
        self._set_rate()
        return numbers[end:]

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
