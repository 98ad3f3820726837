"""Whether an endpoint is well: one that keeps failing rests longer and longer, then gets one probe.

It is ill after many failures in a row, and beside others also when it fails half of its calls. Only
failures of the endpoint count, not of a request; and only calls that began after the last rest, so
that the many that were in flight when it fell ill are one illness, and no recovery.
"""

from collections import deque

from llmscale.core.records import FailureKind

FAILURES_IN_A_ROW = 8
FAILING_SHARE = 0.5
RECENT_CALLS = 20
MIN_COOLDOWN_S = 1.0
MAX_COOLDOWN_S = 30.0

_ILLNESSES: frozenset[FailureKind] = frozenset(
    {"server_error", "overloaded", "timeout", "connection", "bad_response"}
)


class CircuitBreaker:
    """The recent past of one endpoint."""

    def __init__(self) -> None:
        self.has_answered = False
        self.is_probed = False  # after a rest: one call at a time, until one succeeds
        self.ejections = 0
        self.recoveries = 0
        self._in_a_row = 0  # failures
        self._answers_in_a_row = 0
        self._recent: deque[bool] = deque(maxlen=RECENT_CALLS)  # did it fail?
        self._cooldowns = 0
        self._closed_since_s = float("-inf")  # the end of the last rest
        self._tripped_s = 0.0

    def open_for_s(self, now_s: float) -> float:
        """Return the seconds since it fell ill, rests and probes included; 0 where it is well."""
        return now_s - self._tripped_s if self.is_probed else 0.0

    def answered(self, began_s: float) -> None:
        """Note an answer: the endpoint is well. Eight in a row, and its past is forgotten."""
        self.has_answered = True
        if began_s < self._closed_since_s:
            return
        self.recoveries += self.is_probed
        self.is_probed = False
        self._in_a_row = 0
        self._answers_in_a_row += 1
        self._recent.append(False)
        if self._answers_in_a_row >= FAILURES_IN_A_ROW:
            self._cooldowns = 0

    def failed(
        self, kind: FailureKind, began_s: float, now_s: float, *, by_rate: bool = False
    ) -> float | None:
        """Note a failure; return for how many seconds to rest the endpoint, None for not at all.

        `by_rate`: others can take its calls, so half of them failing is enough.
        """
        if kind not in _ILLNESSES or began_s < self._closed_since_s:
            return None
        self._in_a_row += 1
        self._answers_in_a_row = 0
        self._recent.append(True)
        half = by_rate and len(self._recent) == RECENT_CALLS and self._share() >= FAILING_SHARE
        if self._in_a_row < FAILURES_IN_A_ROW and not self.is_probed and not half:
            return None
        if not self.is_probed:
            self._tripped_s = now_s
        cooldown_s = min(MIN_COOLDOWN_S * 2.0**self._cooldowns, MAX_COOLDOWN_S)
        self._cooldowns += 1
        self.ejections += 1
        self._recent.clear()
        self._closed_since_s = now_s + cooldown_s
        self.is_probed = True
        return cooldown_s

    def _share(self) -> float:
        return sum(self._recent) / len(self._recent)
