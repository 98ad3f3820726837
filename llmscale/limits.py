"""Requests and tokens per minute of an endpoint: how long to wait, what was taken, what was unused.

Continuous leaky buckets on the event loop's clock (aiolimiter). A bucket is asked and never sleeps:
who waits for it, and in which order, is decided where the calls queue.
"""

import logging
import time
from collections import deque
from collections.abc import Callable

from aiolimiter import AsyncLimiter

from llmscale.records import Quota

log = logging.getLogger(__name__)

PERIOD_S = 60.0
DAY_S = 86_400.0
BURST_SHARE = 0.01
_HAIR = 1e-6
_SHORTEST_WAIT_S = 1e-6  # a shorter one may end before the clock has moved


class Bucket(AsyncLimiter):
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


class DayCap:
    """So many units a day, from midnight to midnight UTC, as providers count them."""

    def __init__(self, per_day: float, wall_clock: Callable[[], float] = time.time) -> None:
        self.per_day = per_day
        self._wall_clock = wall_clock
        self._day = self._warned_day = -1
        self._used = 0.0

    def wait_s(self, amount: float) -> float:
        """Return the seconds until `amount` may be taken: 0 when now, infinite when never."""
        if amount > self.per_day:
            return float("inf")
        now = self._begin_day()
        if self._used + amount <= self.per_day:
            return 0.0
        midnight_s = DAY_S - now % DAY_S
        if self._warned_day != self._day:  # or a run that waits for hours would say nothing
            self._warned_day = self._day
            hours = midnight_s / 3600
            log.warning("%g a day are used up; what needs more waits %.1f h", self.per_day, hours)
        return midnight_s

    def take(self, amount: float) -> None:
        """Take it, or give it back where it is negative."""
        self._begin_day()
        self._used = max(0.0, self._used + amount)

    def _begin_day(self) -> float:
        """Forget an earlier day; return the time. A clock that is set back makes no new day."""
        now = self._wall_clock()
        if int(now // DAY_S) > self._day:
            self._day, self._used = int(now // DAY_S), 0.0
        return now


class Limits:
    """The limits of one endpoint, or of one user; None: there is none."""

    def __init__(
        self,
        requests_per_min: float | None,
        tokens_per_min: float | None,
        *,
        burst: int | None = None,
        requests_per_day: float | None = None,
        tokens_per_day: float | None = None,
    ) -> None:
        """`burst`: requests that may go out at once, and the same share of the tokens."""
        self._share = None if burst is None or not requests_per_min else burst / requests_per_min
        self.requests_per_min = requests_per_min
        self.tokens_per_min = tokens_per_min
        self.reported = Quota()
        self._requests = Bucket(requests_per_min, 1.0, self._share) if requests_per_min else None
        self._tokens = Bucket(tokens_per_min, 0.0, self._share) if tokens_per_min else None
        self._requests_a_day = DayCap(requests_per_day) if requests_per_day else None
        self._tokens_a_day = DayCap(tokens_per_day) if tokens_per_day else None

    @property
    def most_tokens(self) -> float | None:
        """The most that one call can ever have; None: any number, and none need be estimated."""
        tokens, day = self._tokens, self._tokens_a_day
        if tokens is None:
            return None if day is None else day.per_day
        return tokens.max_rate if day is None else min(tokens.max_rate, day.per_day)

    def wait_s(self, tokens: int) -> float:
        """Return the seconds until a call of `tokens` may go out, 0 when it may now."""
        wait_s = self._requests.wait_s(1) if self._requests else 0.0
        if self._tokens:
            wait_s = max(wait_s, self._tokens.wait_s(tokens))
        if self._requests_a_day:
            wait_s = max(wait_s, self._requests_a_day.wait_s(1))
        if self._tokens_a_day:
            wait_s = max(wait_s, self._tokens_a_day.wait_s(tokens))
        return wait_s

    def take(self, tokens: int) -> None:
        """Count a call that goes out."""
        if self._requests:
            self._requests.take(1)
        if self._requests_a_day:
            self._requests_a_day.take(1)
        if self._tokens:
            self._tokens.take(tokens)
        if self._tokens_a_day:
            self._tokens_a_day.take(tokens)

    def correct(self, taken: int, used: int) -> None:
        """Replace the estimate that was taken by the tokens that were used."""
        if self._tokens:
            self._tokens.give_back(taken - used)
        if self._tokens_a_day:
            self._tokens_a_day.take(used - taken)

    def give_back(self, tokens: int) -> None:
        """Return a call that did not go out after all."""
        if self._requests:
            self._requests.give_back(1)
        if self._requests_a_day:
            self._requests_a_day.take(-1)
        self.correct(tokens, 0)

    def summary(self) -> dict[str, float | None]:
        """Return the limits as they were set and as the provider says they are, as JSON."""
        return {
            "rpm": self.requests_per_min,
            "tpm": self.tokens_per_min,
            "reported_rpm": self.reported.requests_per_min,
            "reported_tpm": self.reported.tokens_per_min,
        }

    def learn(self, quota: Quota) -> list[str]:
        """Keep to what the provider says where that is less; return where it is not as was set."""
        surprises = []
        requests, tokens = quota.requests_per_min, quota.tokens_per_min
        known = self.reported
        if requests is not None and requests != known.requests_per_min:
            surprises += _surprise("requests", self.requests_per_min, requests)
            self._requests = self._lower(self._requests, self.requests_per_min, requests, 1.0)
        if tokens is not None and tokens != known.tokens_per_min:
            surprises += _surprise("tokens", self.tokens_per_min, tokens)
            self._tokens = self._lower(self._tokens, self.tokens_per_min, tokens, 0.0)
        self.reported = Quota(
            requests_per_min=requests or known.requests_per_min,
            tokens_per_min=tokens or known.tokens_per_min,
        )
        return surprises

    def _lower(
        self, bucket: Bucket | None, configured: float | None, reported: float, unit: float
    ) -> Bucket:
        """Return a bucket of the lower of both limits: the one that there is, where that holds."""
        lower = reported if configured is None else min(configured, reported)
        if bucket is not None and bucket.per_minute == lower:
            return bucket
        return Bucket(lower, unit, self._share if lower == configured else None)


def _surprise(what: str, configured: float | None, reported: float) -> list[str]:
    if configured == reported:
        return []
    was_set = "none is set" if configured is None else f"{configured:g} are set"
    return [f"{reported:g} {what} a minute, where {was_set}"]
