"""How many calls a second an endpoint accepts, adapted from those that it refuses.

Known are the calls of the last minute that were accepted, and when the last one was refused. The
rate is cut a little below both, at most by half, and grows back along the curve of CUBIC (RFC 9438,
section 4.2): soon to where it was, there for a while, then faster and faster. Nothing is paced
before the first refusal, and where nothing was accepted, a refusal says nothing about the rate.
"""

from collections import deque

MINUTE_S = 60.0
KEPT = 0.97  # of the rate at a refusal
_MAX_CUT = 0.5  # of the rate: after a long pause little was accepted because little was sent
_BACK_AFTER_S = (20.0, 80.0)  # from there to where it was: soon, and later where calls are few
_BACK_AFTER_CALLS = 80.0  # so that hardly one of a hundred is refused
_MIN_PER_S = 1 / MINUTE_S  # calls a second
_MIN_MEASURED_S = 1.0  # a rate is not measured over less


class AdaptiveRate:
    """The pace of calls to one endpoint. Times are seconds on the event loop's clock."""

    def __init__(self) -> None:
        self._accepted: deque[list[int]] = deque()  # [second, calls begun in it and not refused]
        self._sum = 0
        self._first_s: float | None = None
        self.peak_per_s = float("inf")  # the rate at the last refusal
        self._cut_s = float("-inf")
        self._opens_s = float("-inf")

    @property
    def is_known(self) -> bool:
        """Tell whether anything was refused yet."""
        return self.peak_per_s != float("inf")

    def per_s(self, now_s: float) -> float:
        """Return the calls a second that may begin; infinite while nothing is known."""
        if not self.is_known:
            return self.peak_per_s
        min_s, max_s = _BACK_AFTER_S
        back_s = min(max(_BACK_AFTER_CALLS / self.peak_per_s, min_s), max_s)
        since_s = now_s - self._cut_s
        return self.peak_per_s * (1 + (1 - KEPT) * (since_s / back_s - 1) ** 3)

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next call may begin, 0 for now."""
        return max(0.0, self._opens_s - now_s)

    def start(self, now_s: float) -> None:
        """Count a call that begins."""
        if self._first_s is None:
            self._first_s = now_s
        second = int(now_s)
        if self._accepted and self._accepted[-1][0] == second:
            self._accepted[-1][1] += 1
        else:
            self._forget(now_s)
            self._accepted.append([second, 1])
        self._sum += 1
        if self.is_known:
            gap_s = 1 / self.per_s(now_s)
            # what a late timer has cost is made up for, by one call at most
            self._opens_s = max(self._opens_s, now_s - gap_s) + gap_s

    def refused(self, began_s: float, now_s: float) -> bool:
        """Count a refused call, and cut the rate; those sent before the last cut are one refusal.

        Returns whether the rate was cut.
        """
        for entry in self._accepted:
            if entry[0] == int(began_s):
                entry[1] -= 1
                self._sum -= 1
                break
        if began_s < self._cut_s:
            return False
        self._forget(now_s)
        if self._sum <= 0 and not self.is_known:
            return False
        self.peak_per_s = max(self._peak(now_s), _MIN_PER_S)
        self._cut_s = now_s
        self._opens_s = max(self._opens_s, now_s + 1 / self.per_s(now_s))
        return True

    def _peak(self, now_s: float) -> float:
        before = self.per_s(now_s)
        accepted = self._accepted_per_s(now_s) / KEPT
        return min(before, max(accepted, before * _MAX_CUT)) if self.is_known else accepted

    def _accepted_per_s(self, now_s: float) -> float:
        began_s = now_s if self._first_s is None else self._first_s
        return self._sum / min(max(now_s - began_s, _MIN_MEASURED_S), MINUTE_S)

    def _forget(self, now_s: float) -> None:
        while self._accepted and self._accepted[0][0] < int(now_s - MINUTE_S):
            self._sum -= self._accepted.popleft()[1]
