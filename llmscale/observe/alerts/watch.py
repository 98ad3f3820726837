"""Judges the rules of a run once a second and at its end, and says which have tripped.

A rule trips once; only a stall is said again when rows have moved in between. Those that decide the
exit code are judged at the end, by the final numbers.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from llmscale.accounting.run_numbers import AlertRecord
from llmscale.accounting.stats import Stats
from llmscale.config import Rule
from llmscale.core.printable import printable
from llmscale.observe.alerts.metrics import RunMetrics, Spent

log = logging.getLogger(__name__)

BEAT_S = 1.0


class _Watched:
    """A rule, and whether it has tripped."""

    def __init__(self, rule: Rule, *, decides: bool) -> None:
        self.rule = rule
        self.decides = decides  # the exit code
        self.is_on = False
        self.tripped_at_s: float | None = None  # first
        self.value: float | None = None  # then
        self.at_end: float | None = None
        self.said_at_end = ""  # that number in words; "" where there is none
        self.fails = False

    def trip(self, value: float, at_s: float) -> None:
        """Note that it has tripped."""
        self.is_on = True
        if self.tripped_at_s is None:
            self.tripped_at_s, self.value = at_s, value

    def summary(self) -> AlertRecord:
        """Return what is known of it."""
        return AlertRecord(
            rule=self.rule.text,
            decides=self.decides,
            fails=self.fails,
            value=_rounded(self.value),
            tripped_at_s=_rounded(self.tripped_at_s),
            value_at_end=_rounded(self.at_end),
        )


class Rules(NamedTuple):
    """The rules of a run: `fail_on` decide the exit code, all of them warn."""

    fail_on: Iterable[Rule] = ()
    alert_on: Iterable[Rule] = ()


NO_RULES = Rules()


class Alerts:
    """The rules of a run, and where their alerts go."""

    def __init__(
        self,
        stats: Stats,
        spent: Callable[[], Spent | None] = lambda: None,
        *,
        rules: Rules = NO_RULES,
        job: str = "",
        tell: Callable[[bytes], None] = lambda _: None,
        kept: int = 0,
    ) -> None:
        """`spent`: None without a budget.

        `tell` is given each alert as JSON, and must not wait. `kept`: rows that earlier runs have
        answered; at the end, shares of rows are those of the job.
        """
        self._stats = stats
        decisive = dict.fromkeys(rules.fail_on)
        others = [rule for rule in dict.fromkeys(rules.alert_on) if rule not in decisive]
        self._watched = [_Watched(rule, decides=True) for rule in decisive]
        self._watched += [_Watched(rule, decides=False) for rule in others]
        self._job = printable(job)
        self._tell = tell
        self._spent = spent
        self._kept = kept
        self._longest_stall_s = 0.0

    async def watch(self) -> None:
        """Judge until cancelled."""
        loop = asyncio.get_running_loop()
        began_s = moved_s = loop.time()
        done = self._stats.done
        while True:
            await asyncio.sleep(BEAT_S)
            now_s = loop.time()
            if self._stats.done != done:
                moved_s, done = now_s, self._stats.done
            self._judge(now_s - began_s, now_s - moved_s)

    def judge_at_end(self, wall_s: float) -> bool:
        """Judge for the last time; return whether a rule that decides the exit code has tripped."""
        self._judge(wall_s, self._longest_stall_s, at_end=True)
        return any(watched.fails for watched in self._watched)

    def summary(self) -> list[AlertRecord]:
        """Return the rules that have tripped."""
        return [w.summary() for w in self._watched if w.tripped_at_s is not None]

    def verdicts(self) -> list[tuple[str, bool, str]]:
        """Return each rule that decides the exit code, whether it fails, and its number in words.

        No words: there is no such number, so the rule has not tripped.
        """
        return [(w.rule.text, w.fails, w.said_at_end) for w in self._watched if w.decides]

    def _judge(self, at_s: float, stalled_s: float, *, at_end: bool = False) -> None:
        """Judge every rule, and say which have tripped."""
        self._longest_stall_s = max(self._longest_stall_s, stalled_s)
        kept = self._kept if at_end else 0
        now = RunMetrics(self._stats, at_s, stalled_s, self._spent(), kept)
        for watched in self._watched:
            value = now.of(watched.rule)
            said = "" if value is None else now.said(watched.rule, value)
            if at_end:
                watched.at_end, watched.said_at_end = value, said
            if value is None or not watched.rule.trips(value):
                watched.is_on = watched.is_on and watched.rule.metric != "stalled"
                continue
            watched.fails = at_end and watched.decides
            if watched.fails:
                log.error("--fail-on %s: %s", watched.rule.text, said)
            was_said = watched.is_on or (at_end and watched.tripped_at_s is not None)
            if not was_said and (watched.fails or now.are_enough(watched.rule)):
                watched.trip(value, at_s)
                self._raise(watched.rule, value, said, is_error=watched.fails)

    def _raise(self, rule: Rule, value: float, said: str, *, is_error: bool) -> None:
        if not is_error:  # else it is said as one
            log.warning("alert %s: %s", rule.text, said)
        alert = {
            "job": self._job,
            "rule": rule.text,
            "value": _rounded(value),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "text": f"llmscale {self._job}: {said} ({rule.text})",
        }
        self._tell(orjson.dumps(alert))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
