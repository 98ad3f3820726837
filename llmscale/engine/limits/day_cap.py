"""So many units a day, as some providers count them beside those of a minute. Never sleeps."""

import logging
import time
from collections.abc import Callable

DAY_S = 86_400.0

log = logging.getLogger(__name__)


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
            log.warning(
                "the daily limit of %g is used up; waiting %.1f h for the next day",
                self.per_day,
                hours,
            )
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
