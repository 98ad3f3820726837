"""Tells once when a run comes otherwise than it was estimated: dearer or cheaper, slower or faster.

What the rows asked until now have cost and taken, carried over to all that will be asked. Looks
every few seconds at numbers that are there anyway; never stops or slows a run.
"""

import asyncio
import logging
import math
from typing import Any

from llmscale.accounting.forecast.interval import Interval
from llmscale.accounting.forecast.saved_estimate import SavedEstimate
from llmscale.accounting.stats import Stats

log = logging.getLogger(__name__)

BEAT_S = 5.0
MIN_ROWS = 100  # asked, or
MIN_SHARE = 0.1  # of those that will be, before anything is said
MIN_S = 60.0  # before anything is said about hours: the start is slow
_SURE = 3.0  # standard errors: one looks often


class DriftWatch:
    """Holds the numbers of one run against what was estimated of it."""

    def __init__(self, expected: SavedEstimate, stats: Stats) -> None:
        self._expected = expected
        self._stats = stats
        self._began_s: float | None = None
        self._elapsed_s = 0.0
        self._said: set[str] = set()

    async def watch(self) -> None:
        """Look now and then until cancelled, and once more then."""
        try:
            while True:
                self.look()
                await asyncio.sleep(BEAT_S)
        finally:
            self.look()

    def look(self) -> None:
        """Warn of what is outside of its bounds, once each."""
        now_s = asyncio.get_running_loop().time()
        self._began_s = now_s if self._began_s is None else self._began_s
        self._elapsed_s = now_s - self._began_s
        for name in self._drift():
            if name not in self._said:
                self._said.add(name)
                log.warning("%s", self._sentence(name))

    def summary(self) -> dict[str, Any]:
        """Return what was estimated, what it comes to by now, and which of them is outside."""
        expected = self._expected
        return {
            **_flat("usd", expected.usd),
            **_flat("hours", expected.hours),
            "projected_usd": _rounded(self._projected_usd()),
            "projected_hours": _rounded(self._projected_hours()),
            "drift": self._drift(),
        }

    @property
    def _asked(self) -> int:
        """Rows that were sent and have their outcome."""
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
        """Return by how much the rows asked until now may differ from all of them by chance."""
        every = self._all(asked)
        deviation_usd = self._expected.usd_deviation * every
        return _SURE * deviation_usd * math.sqrt(max(0.0, 1 / asked - 1 / every))

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
            f"after {self._asked:,} rows this run comes to {_shown(value, is_usd=is_usd)}, and "
            f"{' and '.join(bounds)} was estimated"
        )


def _is_outside(span: Interval, value: float | None, noise: float) -> bool:
    if value is None:
        return False
    below = span.low is not None and value + noise < span.low
    return below or (span.high is not None and value - noise > span.high)


def _flat(name: str, span: Interval) -> dict[str, float | None]:
    values = {name: span.estimate, f"{name}_low": span.low, f"{name}_high": span.high}
    return {key: _rounded(value) for key, value in values.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 9)


def _shown(value: float | None, *, is_usd: bool) -> str:
    value = value or 0.0
    return f"${value:.4f}" if is_usd else f"{value:.2f} h"
