"""Warns once when a run drifts from its estimate: costs or hours outside of the 95 % bounds.

Projects the cost and the time of the rows sent so far to all rows. Reads numbers that the run has
anyway every few seconds; never stops or slows a run.
"""

import asyncio
import logging
import math

from llmscale.accounting.forecast.drift_summary import DriftSummary
from llmscale.accounting.forecast.interval import Interval
from llmscale.accounting.forecast.saved_estimate import SavedEstimate
from llmscale.accounting.stats import Stats

log = logging.getLogger(__name__)

CHECK_EVERY_S = 5.0
MIN_ROWS = 100  # sent, or
MIN_SHARE = 0.1  # of all rows, before any warning
MIN_S = 60.0  # before a warning about hours: runs start slowly
_SIGMAS = 3.0  # standard errors: above 2, because the check is repeated


class DriftWatch:
    """Compares the numbers of one run with its estimate."""

    def __init__(self, expected: SavedEstimate, stats: Stats) -> None:
        self._expected = expected
        self._stats = stats
        self._began_s: float | None = None
        self._elapsed_s = 0.0
        self._warned: set[str] = set()

    async def watch(self) -> None:
        """Check every few seconds until cancelled, and once more then."""
        try:
            while True:
                self.check()
                await asyncio.sleep(CHECK_EVERY_S)
        finally:
            self.check()

    def check(self) -> None:
        """Warn about each value that is outside of its bounds, once."""
        now_s = asyncio.get_running_loop().time()
        self._began_s = now_s if self._began_s is None else self._began_s
        self._elapsed_s = now_s - self._began_s
        for name in self._drift():
            if name not in self._warned:
                self._warned.add(name)
                log.warning("%s", self._sentence(name))

    def summary(self) -> DriftSummary:
        """Return the run so far, compared with its estimate."""
        usd, hours = self._expected.usd.rounded(9), self._expected.hours.rounded(9)
        return DriftSummary(
            usd=usd.estimate,
            usd_low=usd.low,
            usd_high=usd.high,
            hours=hours.estimate,
            hours_low=hours.low,
            hours_high=hours.high,
            projected_usd=_rounded(self._projected_usd()),
            projected_hours=_rounded(self._projected_hours()),
            drift=self._drift(),
        )

    @property
    def _asked(self) -> int:
        """Rows that were sent and have an outcome."""
        rows = self._stats.rows()
        answered = rows.answered - rows.cached - rows.deduped
        return answered + rows.failed - rows.failures["bad_row"]

    def _projected_usd(self) -> float | None:
        asked, calls = self._asked, self._stats.calls()
        return None if not asked or calls.unpriced else calls.cost_usd / asked * self._all(asked)

    def _projected_hours(self) -> float | None:
        asked = self._asked
        return self._elapsed_s / 3600 / asked * self._all(asked) if asked else None

    def _all(self, asked: int) -> float:
        return max(self._expected.asked, asked)

    def _drift(self) -> list[str]:
        asked = self._asked
        if not asked or asked < min(MIN_ROWS, MIN_SHARE * self._expected.asked):
            return []
        found = []
        if _is_outside(self._expected.usd, self._projected_usd(), self._noise_usd(asked)):
            found.append("usd")
        if self._elapsed_s >= MIN_S and _is_outside(
            self._expected.hours, self._projected_hours(), 0.0
        ):
            found.append("hours")
        return found

    def _noise_usd(self, asked: int) -> float:
        """Return how far the rows sent so far may differ from all rows by chance.

        Standard error of a mean with the finite population correction (Cochran, "Sampling
        Techniques", 1977, 2.6), times `_SIGMAS`.
        """
        every = self._all(asked)
        deviation_usd = self._expected.usd_deviation * every
        return _SIGMAS * deviation_usd * math.sqrt(max(0.0, 1 / asked - 1 / every))

    def _sentence(self, name: str) -> str:
        is_usd = name == "usd"
        value = self._projected_usd() if is_usd else self._projected_hours()
        span = self._expected.usd if is_usd else self._expected.hours
        bounds = [
            f"{word} {_shown(bound, is_usd=is_usd)}"
            for word, bound in (("at least", span.low), ("at most", span.high))
            if bound is not None
        ]
        return (
            f"after {self._asked:,} rows, this run is projected to take "
            f"{_shown(value, is_usd=is_usd)}; the estimate was {' and '.join(bounds)}"
        )


def _is_outside(span: Interval, value: float | None, noise: float) -> bool:
    if value is None:
        return False
    below = span.low is not None and value + noise < span.low
    return below or (span.high is not None and value - noise > span.high)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 9)


def _shown(value: float | None, *, is_usd: bool) -> str:
    value = value or 0.0
    return f"${value:.4f}" if is_usd else f"{value:.2f} h"
