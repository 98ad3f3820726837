"""Rows parked by user, and picked from one user after the other among those who may go now.

Round robin (Nagle, RFC 970, 1985) with a heap of the times at which the others may go: O(log n) for
a row, however many users wait. A user may fill a tenth of the space that is left (Choudhury and
Hahne, "Dynamic queue length thresholds", 1998), so that a greedy one leaves space for later ones.
Never waits, and knows nothing of where rows come from.
"""

import heapq
import itertools
from collections import deque
from typing import Protocol

from llmscale.core.records import Row

LOOKAHEAD = 10_000  # rows
_EPSILON_S = 1e-6  # a timer may end that much early, and the clock stand still until the next
USER_SHARE = 10  # the part of the free space that one user may fill is 1 / 10


class RateLimiters(Protocol):
    """What says when a row may go."""

    def wait_s(self, row: Row) -> float:
        """Return the seconds until its user may have it taken up, 0 for now; never infinite."""
        ...

    def take(self, row: Row) -> Row:
        """Count a row that is taken up; return it, or it with its failure."""
        ...


class _Line:
    """The rows of one user, first come first served."""

    __slots__ = ("at_s", "rows")

    def __init__(self) -> None:
        self.rows: deque[Row] = deque()
        self.at_s: float | None = None  # when the user may go; None: is among those to be asked


class FairQueue:
    """At most `max_rows` rows. Times are seconds on the event loop's clock."""

    def __init__(self, limiters: RateLimiters, max_rows: int = LOOKAHEAD) -> None:
        self._limiters = limiters
        self._max_rows = max_rows
        self._lines: dict[str | None, _Line] = {}
        self._ready: deque[str | None] = deque()  # whose turn is next; may have to wait after all
        # when, a number for ties, who; out of date where the line says another time
        self._waiting: list[tuple[float, int, str | None]] = []
        self._numbers = itertools.count()
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def is_full(self) -> bool:
        """Tell whether no further row fits."""
        return self._rows >= self._max_rows

    def has_space(self, user: str | None) -> bool:
        """Tell whether one more row of this user fits; a first one always does until the queue is
        full.
        """
        free = self._max_rows - self._rows
        return free > 0 and self.rows_of(user) < max(1, free // USER_SHARE)

    def rows_of(self, user: str | None) -> int:
        """Return how many rows of this user are here."""
        line = self._lines.get(user)
        return 0 if line is None else len(line.rows)

    def park(self, row: Row) -> None:
        """Take a row in, behind those of the same user."""
        line = self._lines.get(row.user)
        if line is None:
            line = self._lines[row.user] = _Line()
            self._ready.append(row.user)
        line.rows.append(row)
        self._rows += 1

    def pop(self, now_s: float) -> Row | None:
        """Pick and take the first row of the user whose turn it is, None where nobody may go."""
        while self._waiting and self._waiting[0][0] <= now_s + _EPSILON_S:
            at_s, _, user = heapq.heappop(self._waiting)
            if self._is_current(user, at_s):
                self._let_in(user)
        while self._ready:
            user = self._ready.popleft()
            line = self._lines[user]
            wait_s = self._limiters.wait_s(line.rows[0])
            if wait_s:
                self._wait(user, now_s + wait_s)
                continue
            row = self._limiters.take(line.rows.popleft())
            self._rows -= 1
            if line.rows:
                self._ready.append(user)
            else:
                del self._lines[user]
            return row
        return None

    def next_at_s(self) -> float | None:
        """Return when the next user may go, after a `pop` that found none; None: nobody is here."""
        while self._waiting:
            at_s, _, user = self._waiting[0]
            if self._is_current(user, at_s):
                return at_s
            heapq.heappop(self._waiting)
        return None

    def reconsider(self, user: str | None, now_s: float) -> bool:
        """Look again when a user may go who got a refund; tell whether it is sooner."""
        line = self._lines.get(user)
        if line is None or line.at_s is None:
            return False
        wait_s = self._limiters.wait_s(line.rows[0])
        if now_s + wait_s >= line.at_s:
            return False
        if wait_s:
            self._wait(user, now_s + wait_s)
        else:
            self._let_in(user)
        return True

    def _is_current(self, user: str | None, at_s: float) -> bool:
        line = self._lines.get(user)
        return line is not None and line.at_s == at_s

    def _let_in(self, user: str | None) -> None:
        self._lines[user].at_s = None
        self._ready.append(user)

    def _wait(self, user: str | None, at_s: float) -> None:
        self._lines[user].at_s = at_s
        heapq.heappush(self._waiting, (at_s, next(self._numbers), user))
