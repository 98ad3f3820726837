"""Whether an endpoint is well: one that keeps failing rests longer and longer, then gets one probe.

Only failures of the endpoint count, not of a request; and only calls that began after the last
rest, so that the many that were in flight when it fell ill are one illness, and no recovery.
"""

from llmscale.records import FailureKind

FAILURES_IN_A_ROW = 8
FIRST_REST_S = 1.0
LONGEST_REST_S = 30.0

_ILLNESSES: frozenset[FailureKind] = frozenset(
    {"server_error", "overloaded", "timeout", "connection", "bad_response"}
)


class Health:
    """The recent past of one endpoint."""

    def __init__(self) -> None:
        self.has_answered = False
        self.is_probed = False  # after a rest: one call at a time, until one succeeds
        self._failures = 0
        self._rests = 0
        self._ill_since_s = float("-inf")

    def answered(self, began_s: float) -> None:
        """Note an answer: the endpoint is well."""
        self.has_answered = True
        if began_s < self._ill_since_s:
            return
        self.is_probed = False
        self._failures = self._rests = 0

    def failed(self, kind: FailureKind, began_s: float, now_s: float) -> float | None:
        """Note a failure; return for how many seconds to rest the endpoint, None for not at all."""
        if kind not in _ILLNESSES or began_s < self._ill_since_s:
            return None
        self._failures += 1
        if self._failures < FAILURES_IN_A_ROW and not self.is_probed:
            return None
        rest_s = min(FIRST_REST_S * 2.0**self._rests, LONGEST_REST_S)
        self._rests += 1
        self._ill_since_s = now_s + rest_s
        self.is_probed = True
        return rest_s
