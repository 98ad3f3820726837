"""So many units a minute: how long to wait, what was taken, what was unused.

A continuous leaky bucket on the event loop's clock, as aiolimiter has it; a test holds the two
against each other. aiolimiter itself only says whether an amount fits now, and then waits. The pool
has to know for how long, has to refund what was not used, and waits in an order of its own. So this
bucket never waits.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

PERIOD_S = 60.0
BURST_SHARE = 0.01
_EPSILON = 1e-6
_MIN_WAIT_S = 1e-6  # a shorter one may end before the clock has moved


class LeakyBucket:
    """Holds up to `size` units, and drains `per_period` of them in every `PERIOD_S`."""

    def __init__(self, size: float, per_period: float) -> None:
        self.size = size
        self.level = 0.0  # at `checked_s`
        self.checked_s = 0.0
        self.per_s = per_period / PERIOD_S

    def leak(self, until_s: float | None = None) -> None:
        """Drain up to a moment; None: now."""
        now_s = asyncio.get_running_loop().time() if until_s is None else until_s
        if self.level:
            self.level = max(self.level - (now_s - self.checked_s) * self.per_s, 0.0)
        self.checked_s = now_s


class TokenBucket:
    """So many units a minute, in any minute that one may look at.

    What may be taken at once (the burst, 1 % of the limit) is subtracted from what drains in a
    minute, so that their sum is the limit, unless a burst is asked for. A larger amount waits until
    it has drained as a whole, and the minute after it drains so much less.
    """

    def __init__(
        self, per_minute: float, unit: float = 0.0, burst_share: float | None = None
    ) -> None:
        """`unit`: the one amount that is ever taken, 0 where amounts differ.

        `burst_share`: of a minute, what may be taken at once beside the limit: a minute may then
        have that much more. None: the burst is a part of the limit.
        """
        self.per_minute = per_minute
        self.max_amount = max(per_minute, unit)
        self._burst = max(unit, per_minute * (burst_share or BURST_SHARE))
        # with units that are all alike there may be one more: the first of a window is of the burst
        even = per_minute - self._burst + unit * (1 - _EPSILON)
        self._drained = even if burst_share is None else per_minute
        self._bucket = LeakyBucket(self.max_amount, self._drained)
        # of amounts that differ, one as large as the limit is the last that fits again
        self._at_once = self._burst if unit else self.max_amount
        self._large: deque[tuple[float, float]] = deque()  # until when, what drains a minute

    def wait_s(self, amount: float) -> float:
        """Return the seconds until `amount` may be taken: 0 when now, infinite when never."""
        if amount > self.max_amount:
            return float("inf")
        self._leak()
        over = self._bucket.level + amount - self._bucket.size
        return max(_MIN_WAIT_S, self._drained_in_s(over)) if over > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        """Take an amount, whether it is there or not."""
        self._leak()
        bucket = self._bucket
        if amount <= self._burst:  # what is saved up beyond the burst is for larger ones
            bucket.level = max(bucket.level, bucket.size - self._burst) + amount
            return
        bucket.level = max(bucket.level + amount, bucket.size)
        drained = max(self.per_minute - amount, 0.0)
        while self._large and self._large[-1][1] >= drained:
            self._large.pop()
        self._large.append((bucket.checked_s + PERIOD_S, drained))
        self._set_rate()

    def refund(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        self._leak()
        self._bucket.level = max(0.0, self._bucket.level - amount)

    def full_in_s(self) -> float:
        """Return the seconds until as much may be taken at once as ever may."""
        return self.wait_s(self._at_once)

    def state(self) -> list[float]:
        """Return what was taken and has not drained yet, for a bucket that goes on from there."""
        large = [number for pair in self._large for number in pair]
        return [self._bucket.level, self._bucket.checked_s, float(len(self._large)), *large]

    def resume(self, numbers: Sequence[float]) -> Sequence[float]:
        """Go on from a `state` at the front of `numbers`; return the others."""
        self._bucket.level, self._bucket.checked_s, count = numbers[:3]
        end = 3 + 2 * int(count)
        self._large.extend(zip(numbers[3:end:2], numbers[4:end:2], strict=True))
        self._set_rate()
        return numbers[end:]

    def _drained_in_s(self, amount: float) -> float:
        now_s = at_s = self._bucket.checked_s
        for until_s, drained in self._large:
            drains = (until_s - at_s) * drained / PERIOD_S
            if drains >= amount:
                return at_s - now_s + amount / drained * PERIOD_S
            at_s, amount = until_s, amount - drains
        return at_s - now_s + amount / self._drained * PERIOD_S

    def _leak(self) -> None:
        """Drain up to now, past the ends of the minutes in which less drains."""
        now_s = asyncio.get_running_loop().time()
        while self._large and self._large[0][0] <= now_s:
            self._bucket.leak(self._large.popleft()[0])
            self._set_rate()
        self._bucket.leak(now_s)

    def _set_rate(self) -> None:
        drained = self._large[0][1] if self._large else self._drained
        self._bucket.per_s = drained / PERIOD_S
