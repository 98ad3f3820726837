"""The circuit breaker of one endpoint: closed, open for a cooldown, half-open until an answer.

It trips after many failures in a row, and where other endpoints can take the calls also when half
of them fail. Only failures of the endpoint count, not those of a request. Only calls that began
after the last cooldown count: the calls that were in flight at a trip are part of that trip, and
their answers are no recovery. Cooldowns double while the endpoint keeps failing.
"""

from collections import deque

from llmscale.core.records import FailureKind

FAILURES_IN_A_ROW = 8
FAILING_SHARE = 0.5
RECENT_CALLS = 20
MIN_COOLDOWN_S = 1.0
MAX_COOLDOWN_S = 30.0

_OF_ENDPOINT: frozenset[FailureKind] = frozenset(
    {"server_error", "overloaded", "timeout", "connection", "bad_response"}
)


class CircuitBreaker:
    """Closed, until it trips. Times are seconds on the event loop's clock."""

    def __init__(self) -> None:
        self.has_answered = False
        self.is_closed = True  # else open, and after the cooldown half-open: one call at a time
        self.trips = 0
        self.recoveries = 0
        self._failures_in_a_row = 0
        self._answers_in_a_row = 0
        self._recent: deque[bool] = deque(maxlen=RECENT_CALLS)  # did the call fail?
        self._cooldowns = 0  # since it was last stable
        self._cooldown_ends_s = float("-inf")
        self._tripped_s = 0.0

    def tripped_for_s(self, now_s: float) -> float:
        """Return the seconds since the circuit opened, half-open included; 0 while closed."""
        return 0.0 if self.is_closed else now_s - self._tripped_s

    def answered(self, began_s: float) -> None:
        """Close the circuit. After eight answers in a row the next cooldown is short again."""
        self.has_answered = True
        if began_s < self._cooldown_ends_s:
            return
        self.recoveries += not self.is_closed
        self.is_closed = True
        self._failures_in_a_row = 0
        self._answers_in_a_row += 1
        self._recent.append(False)
        if self._answers_in_a_row >= FAILURES_IN_A_ROW:
            self._cooldowns = 0

    def failed(
        self, kind: FailureKind, began_s: float, now_s: float, *, by_share: bool = False
    ) -> float | None:
        """Count a failure; return the seconds of cooldown if the circuit trips, else None.

        `by_share`: other endpoints can take the calls, so failing half of them is enough to trip.
        """
        if kind not in _OF_ENDPOINT or began_s < self._cooldown_ends_s:
            return None
        self._failures_in_a_row += 1
        self._answers_in_a_row = 0
        self._recent.append(True)
        half = by_share and len(self._recent) == RECENT_CALLS and self._share() >= FAILING_SHARE
        if self._failures_in_a_row < FAILURES_IN_A_ROW and self.is_closed and not half:
            return None
        return self._trip(now_s)

    def _trip(self, now_s: float) -> float:
        if self.is_closed:
            self._tripped_s = now_s
        cooldown_s = min(MIN_COOLDOWN_S * 2.0**self._cooldowns, MAX_COOLDOWN_S)
        self._cooldowns += 1
        self.trips += 1
        self._recent.clear()
        self._cooldown_ends_s = now_s + cooldown_s
        self.is_closed = False
        return cooldown_s

    def _share(self) -> float:
        return sum(self._recent) / len(self._recent)
