"""How many retries there may be: a share of the calls, and a few more.

When much fails at once, retries are what keeps a server down. Each call earns a part of a retry,
each retry spends one, and what is lacking is waited for. Retries at an endpoint whose circuit is
not closed are not counted: one call at a time is sent there. After Finagle's retry budgets.
"""

SHARE = 0.2  # retries a call
FLOOR = 10.0  # retries that need no calls before them
FLOOR_PER_S = 1.0  # and as many more as time goes by
_MAX_SAVED = 100.0  # that are saved up
_EPSILON = 1e-9  # fifths do not add up to a whole


class RetryBudget:
    """The retries of one pool. Times are seconds on the event loop's clock."""

    def __init__(self) -> None:
        self._left = FLOOR
        self._seen_s: float | None = None

    def earn(self) -> None:
        """Count a call that is no retry."""
        self._left = min(self._left + SHARE, _MAX_SAVED)

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until there may be another retry, 0 for now."""
        if self._seen_s is not None and self._left < FLOOR:
            since_s = max(0.0, now_s - self._seen_s)
            self._left = min(self._left + since_s * FLOOR_PER_S, FLOOR)
        self._seen_s = now_s
        lacking = 1 - self._left
        return lacking / FLOOR_PER_S if lacking > _EPSILON else 0.0

    def spend(self) -> None:
        """Count a retry, which is made after the wait."""
        self._left -= 1
