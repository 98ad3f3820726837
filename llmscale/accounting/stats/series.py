"""How a run went over time, in a bounded number of steps, however long it takes."""

from typing import NamedTuple

from llmscale.accounting.stats.summaries import Timeline

FIRST_STEP_S = 0.1
MAX_STEPS = 240
_EPSILON_S = 1e-6  # what sums of floats are off makes no step


class Progressed(NamedTuple):
    """What has come to an end."""

    rows: int = 0  # with an outcome
    failed: int = 0  # of those
    tokens: int = 0  # of calls
    cost_usd: float = 0.0

    def minus(self, other: "Progressed") -> "Progressed":
        """Return what has come to an end since `other`."""
        return Progressed(
            self.rows - other.rows,
            self.failed - other.failed,
            self.tokens - other.tokens,
            self.cost_usd - other.cost_usd,
        )

    def plus(self, other: "Progressed") -> "Progressed":
        """Return both together."""
        return Progressed(
            self.rows + other.rows,
            self.failed + other.failed,
            self.tokens + other.tokens,
            self.cost_usd + other.cost_usd,
        )


class _Step:
    """One step: what ended in it, and what was under way, in call seconds."""

    __slots__ = ("ended", "in_flight_s", "seconds", "waiting_s")

    def __init__(self) -> None:
        self.ended = Progressed()
        self.seconds = 0.0
        self.in_flight_s = 0.0
        self.waiting_s = 0.0

    def copy(self) -> "_Step":
        """Return one that is not changed with this one."""
        step = _Step()
        step.merge(self)
        return step

    def merge(self, other: "_Step", *, apart: bool = False) -> None:
        """Take in a step; `apart`: one of another shard, at the same time as this one."""
        self.ended = self.ended.plus(other.ended)
        self.in_flight_s += other.in_flight_s
        self.waiting_s += other.waiting_s
        self.seconds = max(self.seconds, other.seconds) if apart else self.seconds + other.seconds


class Series:
    """Steps of equal length; where there would be too many, pairs become one."""

    def __init__(self) -> None:
        self.step_s = FIRST_STEP_S
        self._steps: list[_Step] = []

    def add(
        self, at_s: float, seconds: float, ended: Progressed, in_flight: float, waiting: float
    ) -> None:
        """Count what happened in the `seconds` until `at_s` after the start of the run.

        `in_flight`, `waiting`: calls, as they were on the mean in those seconds.
        """
        began_s = at_s - seconds
        middle = self._at(began_s + seconds / 2)
        middle.ended = middle.ended.plus(ended)
        while seconds > _EPSILON_S:
            step = self._at(began_s)
            end_s = (int(began_s / self.step_s + 1e-9) + 1) * self.step_s
            part_s = min(seconds, max(end_s - began_s, _EPSILON_S))
            step.seconds += part_s
            step.in_flight_s += in_flight * part_s
            step.waiting_s += waiting * part_s
            began_s, seconds = began_s + part_s, seconds - part_s

    def merge(self, other: "Series") -> None:
        """Take in the series of a shard that ran at the same time, which stays as it is."""
        while self.step_s < other.step_s:
            self._halve()
        theirs = other._copy()
        while theirs.step_s < self.step_s:
            theirs._halve()
        for number, step in enumerate(theirs._steps):
            self._at((number + 0.5) * self.step_s).merge(step, apart=True)

    def summary(self) -> Timeline:
        """Return the steps, a list for each figure."""
        steps = self._steps
        return Timeline(
            step_s=self.step_s,
            rows=[s.ended.rows for s in steps],
            failed=[s.ended.failed for s in steps],
            tokens=[s.ended.tokens for s in steps],
            cost_usd=[round(s.ended.cost_usd, 9) for s in steps],
            in_flight=[round(s.in_flight_s / s.seconds, 3) if s.seconds else 0 for s in steps],
            waiting=[round(s.waiting_s / s.seconds, 3) if s.seconds else 0 for s in steps],
        )

    def _at(self, at_s: float) -> _Step:
        while (number := int(at_s / self.step_s + 1e-9)) >= MAX_STEPS:
            self._halve()
        while number >= len(self._steps):
            self._steps.append(_Step())
        return self._steps[number]

    def _copy(self) -> "Series":
        series = Series()
        series.step_s, series._steps = self.step_s, [step.copy() for step in self._steps]
        return series

    def _halve(self) -> None:
        self.step_s *= 2
        for first, second in zip(self._steps[::2], self._steps[1::2], strict=False):
            first.merge(second)
        del self._steps[1::2]
