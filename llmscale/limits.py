"""Requests and tokens per minute of an endpoint: how long to wait, what was taken, what was unused.

Continuous leaky buckets on the event loop's clock (aiolimiter). A bucket is asked and never sleeps:
who waits for it, and in which order, is decided where the calls queue.
"""

from aiolimiter import AsyncLimiter

PERIOD_S = 60.0
BURST_SHARE = 0.01
_HAIR = 1e-6


class Bucket(AsyncLimiter):
    """So many units a minute, in any minute that one may look at.

    What may go out at once (the burst) is taken off what drains in a minute, so that their sum is
    the limit. The burst is 1 % of the limit, and grows to the largest amount that is asked for.
    """

    def __init__(self, per_minute: float, unit: float = 0.0) -> None:
        """`unit`: the one amount that is ever taken, 0 where amounts differ."""
        self.per_minute = per_minute
        self._unit = unit
        super().__init__(per_minute)
        self._set_burst(max(unit, per_minute * BURST_SHARE))

    def wait_s(self, amount: float) -> float:
        """Return the seconds until `amount` may be taken, 0 when it may be now."""
        self._leak()
        if amount > self.max_rate:
            self._set_burst(min(amount, self.per_minute))
        over = self._level + min(amount, self.max_rate) - self.max_rate
        return over / self._rate_per_sec if over > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        """Take it, whether it is there or not."""
        self._leak()
        self._level += amount

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        self._leak()
        self._level = max(0.0, self._level - amount)

    def _set_burst(self, burst: float) -> None:
        """Units that are all alike leave room for one more: a window's first is of the burst."""
        drained = self.per_minute - burst + self._unit * (1 - _HAIR)
        self.max_rate = burst
        self.time_period = PERIOD_S
        self._rate_per_sec = max(drained, self.per_minute / 2) / PERIOD_S


class Limits:
    """The limits of one endpoint; None: there is none."""

    def __init__(self, requests_per_min: float | None, tokens_per_min: float | None) -> None:
        self._requests = Bucket(requests_per_min, 1.0) if requests_per_min else None
        self._tokens = Bucket(tokens_per_min) if tokens_per_min else None

    @property
    def most_tokens(self) -> float | None:
        """The most that one call can ever have; None: any number, and tokens need no estimate."""
        return self._tokens.per_minute if self._tokens else None

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
