"""How many calls an endpoint has in flight at its best, between one and its capacity.

Grows while the endpoint is healthy and the window well used, and is cut where more in flight is of
no use: at once when the endpoint says that it is too busy, and for a server of one's own also when
calls take much longer than they did. Whether that is the load is tried out: with fewer in flight,
calls that wait for each other take less time, and others do not; then the cut is taken back. What
is held is tried with more in the same way. What decides is the latency for each token, so that long
answers are no load, and its geometric mean, so that a few slow ones are none. After Netflix's
concurrency-limits (Gradient2) and TCP Vegas. Plain failures change nothing.
"""

from math import exp, log

SMALLEST = 1.0
FIRST = 8.0  # of a server of one's own, before its latency is known
FIRST_SHARE, NO_SHARE_OF = 1 / 4, 32  # of the capacity above so many: who says 2,000 has a reason
CUT_BUSY = 0.7
TOLERATED = 2.0  # times the latency of an endpoint that is not loaded
BARELY_LONGER_S = 0.1  # no latency is too long that is so little longer
_USED = 0.8  # of the window, by calls that say something of it
# what is tolerated, in terms of what is met: where to grow by how much, and where to cut
_GROWTH = ((1.8, 4.0), (1.5, 2.0))
_TOO_LONG, _DEEPEST_CUT = 0.8, 0.5
_TRIED_GROWTH = 1.5
_LOAD = 0.5  # of a change in size that shows in the latency: it is the load
_HELD_ROUNDS = 5  # before more is tried again
_UNCUT_ROUNDS = 10  # after a cut that was not right
_SMALLEST_ROUND = 8  # answers, to grow
_SURE_ROUND = 32  # answers, for all else
_LEARNING_RATE = 0.2  # of the unloaded latency, from rounds that look unloaded
_TOKENS_OF_A_CALL = 20  # what every call takes beside its tokens


class AdaptiveWindow:
    """The bound of the calls in flight of one endpoint."""

    def __init__(self, capacity: int, *, follows_latency: bool = False) -> None:
        """`follows_latency`: for servers that take every call and then share their time."""
        self._capacity = float(capacity)
        self._follows_latency = follows_latency
        first = max(FIRST, (capacity - NO_SHARE_OF) * FIRST_SHARE)
        self.size = min(self._capacity, first) if follows_latency else self._capacity
        self.cuts = 0
        self.has_converged = not follows_latency  # else it grows, as far as is known
        self._cut_s = float("-inf")
        self._unloaded_s = float("inf")  # latency for a token
        self._tried: tuple[float, float] | None = None  # size and latency before a trial
        self._held_rounds = 0
        self._to_hold_rounds = 1
        self._uncut_rounds = 0  # still to come
        self._begin_round(float("-inf"))

    def busy(self, began_s: float, now_s: float) -> None:
        """Note that the endpoint has too many calls; those from before the last cut are one."""
        if began_s >= self._cut_s:
            self._tried = None
            self._cut(max(self.size * CUT_BUSY, SMALLEST), now_s)
            self._begin_round(now_s)

    def answered(self, began_s: float, now_s: float, tokens: int, in_flight: int) -> None:
        """Note an answer of so many tokens. `in_flight`: with this call."""
        if in_flight < self.size * _USED or began_s < self._round_s:
            return
        self._answers += 1
        if self._follows_latency:
            latency_s = max(now_s - began_s, 1e-6)
            self._latency_s += latency_s
            self._log_token_s += log(latency_s / (tokens + _TOKENS_OF_A_CALL))
        if self._answers >= max(self.size, _SMALLEST_ROUND):
            self._end_round(now_s)

    def _end_round(self, now_s: float) -> None:
        if not self._follows_latency:
            self.size = min(self.size + 1, self._capacity)
            self._begin_round(now_s)
            return
        latency_s = self._latency_s / self._answers
        token_s = exp(self._log_token_s / self._answers)
        is_sure = self._answers >= _SURE_ROUND
        if self._tried is not None:
            if is_sure:
                self._end_trial(*self._tried, token_s)
                self._begin_round(now_s)
            return
        if self._unloaded_s == float("inf"):
            self._unloaded_s = token_s
        elif is_sure and token_s < self._unloaded_s * TOLERATED / _GROWTH[-1][0]:
            self._unloaded_s += _LEARNING_RATE * (token_s - self._unloaded_s)
        factor = self._growth(latency_s, token_s)
        if factor > 1:
            self._held_rounds = 0
            self.size = min(self.size * factor, self._capacity)
            self._begin_round(now_s)
        elif is_sure:
            self._hold_or_cut(latency_s, token_s, now_s)

    def _growth(self, latency_s: float, token_s: float) -> float:
        """Return by how much to grow, 1 for not."""
        if latency_s * (1 - self._unloaded_s / token_s) * _GROWTH[0][1] <= BARELY_LONGER_S:
            return _GROWTH[0][1]
        roominess = TOLERATED * self._unloaded_s / token_s
        return next((factor for least, factor in _GROWTH if roominess > least), 1.0)

    def _hold_or_cut(self, latency_s: float, token_s: float, now_s: float) -> None:
        self.has_converged = True
        self._held_rounds += 1
        self._uncut_rounds = max(0, self._uncut_rounds - 1)
        roominess = TOLERATED * self._unloaded_s / token_s
        longer_s = latency_s * (1 - self._unloaded_s / token_s)
        if roominess < _TOO_LONG and longer_s > BARELY_LONGER_S and self.size > SMALLEST:
            # in the first round after a growth, what is queued there is still growing
            if self._held_rounds > 1 and not self._uncut_rounds:
                self._tried = (self.size, token_s)
                self._cut(max(self.size * max(roominess, _DEEPEST_CUT), SMALLEST), now_s)
        elif self._held_rounds >= self._to_hold_rounds and self.size < self._capacity:
            self._tried = (self.size, token_s)
            self.size = min(self.size * _TRIED_GROWTH, self._capacity)
        # a trial counts when what was queued there has gone through
        self._begin_round(now_s if self._tried is None else now_s + latency_s)

    def _end_trial(self, size: float, before_s: float, token_s: float) -> None:
        """Decide whether it is the load, by how much of the change shows in the latency."""
        smaller, larger = sorted((size, self.size))
        is_load = log(token_s / before_s) / log(self.size / size) >= _LOAD
        self.size = smaller if is_load else larger
        self._tried, self._held_rounds = None, 0
        self._to_hold_rounds = _HELD_ROUNDS if is_load else 1
        if not is_load:
            self._unloaded_s, self._uncut_rounds = token_s, _UNCUT_ROUNDS

    def _cut(self, size: float, now_s: float) -> None:
        self.size = size
        self.has_converged = True
        self.cuts += 1
        self._cut_s = now_s

    def _begin_round(self, now_s: float) -> None:
        self._round_s = now_s
        self._answers = 0
        self._latency_s = 0.0
        self._log_token_s = 0.0
