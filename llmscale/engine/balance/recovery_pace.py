"""How calls come back to an endpoint after a cooldown: one by one, so that no herd is sent.

They begin at the pace at which a full endpoint ends them, for as long as one call takes.
"""

FIRST_GUESS_S = 1.0  # of what a call takes, before any was answered
MAX_S = 10.0
_LEARNING_RATE = 0.1


class RecoveryPace:
    """The seconds between the calls of one endpoint, where there are any."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._latency_s = FIRST_GUESS_S
        self._until_s = float("-inf")
        self._opens_at_s = float("-inf")

    def learn(self, latency_s: float) -> None:
        """Note what a call took."""
        self._latency_s += _LEARNING_RATE * (min(latency_s, MAX_S) - self._latency_s)

    def begin(self, at_s: float) -> None:
        """Space the calls that begin from then on."""
        self._until_s = max(self._until_s, at_s + self._latency_s)

    def start(self, now_s: float) -> None:
        """Note that a call begins."""
        if now_s < self._until_s:
            self._opens_at_s = now_s + self._latency_s / self._capacity

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next call may begin, 0 for now."""
        return max(0.0, self._opens_at_s - now_s)
