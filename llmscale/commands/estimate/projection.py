"""Dollars, tokens and hours of a run now or of so many times the rows, and what binds them.

Hours are those of the slowest thing that may bind, with the low, the best and the high figure of
what it is held against. By counts alone there is only a least: how long calls take is not known. By
a sample they are at the most those of its own pace, which has all the slowness of a start.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import asdict

from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.accounting.forecast.saved_estimate import Sample
from llmscale.commands.estimate.figures import Figures, Forecasts, needs_by
from llmscale.commands.estimate.hours import (
    START_S,
    Pacing,
    Work,
    bounds_of,
    hours_at_pace,
    hours_of,
)
from llmscale.commands.estimate.input_counts import extent
from llmscale.commands.estimate.job_state import JobState
from llmscale.commands.limits import Bound, Need

MAX_BOUNDS = 8  # that are told


class Projection(NamedTuple):
    """What so many times the rows come to."""

    scale: float
    rows: float  # without those that have an answer in OUT
    figures: Figures
    hours: Interval
    bounds: list[Bound]  # those that take any time, the slowest first

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        figures = self.figures
        return {
            "scale": self.scale,
            "rows": round(self.rows),
            "asked": figure(figures.asked),
            "input_tokens": figure(figures.input_tokens),
            "output_tokens": figure(figures.output_tokens),
            "usd": figure(figures.usd, 9),
            "hours": figure(self.hours, 6),
            "binds": _named(self.bounds[0]) if self.bounds else None,
            "bounds": [_named(bound) for bound in self.bounds[:MAX_BOUNDS]],
        }


class Estimate(NamedTuple):
    """What a job will take: now, and with more rows."""

    now: Projection
    scaled: Projection
    sample: Sample | None  # that it is made of; None: of counts alone
    usd_deviation: float  # of the cost of one row


def outlook(
    seen: JobState, forecasts: Forecasts, sample: Sample | None, scale: float | None = None
) -> Projection:
    """Return what a run comes to now; with `scale` so many times the rows, none answered before.

    `sample`: that the forecasts are made of; None: of counts.
    """
    columns = seen.columns
    sent = extent(columns, scale)
    figures = forecasts.figures(sent)
    pacing = Pacing(
        seen.config,
        seen.models,
        sample.paces if sample else {},
        sample.rows_per_s if sample else None,
    )
    taken_up = columns.is_row if sent.afresh else columns.is_row & ~columns.answered
    rows = float(taken_up.sum()) * sent.times
    needs = needs_by("users", seen.census, columns, sent)
    users = dict(zip(seen.census.users, needs, strict=True))
    totals = _Totals(figures, sum(need.tokens for need in needs))

    def bounds(which: str) -> list[Bound]:
        return bounds_of(pacing, _work(totals, users, rows, which), which)

    found = sorted(bounds("estimate"), key=lambda bound: -bound.minutes)
    if figures.busy_s is None:  # how long calls take is not known
        found = [bound for bound in found if bound.budget != "process"]
        hours = Interval(None, hours_of(bounds("low"), "low"), None)
    elif figures.busy.estimate is None or totals.tokens.estimate is None:
        hours = UNKNOWN
    else:
        slowest = max(
            hours_of(bounds("high"), "high"),
            hours_at_pace(pacing, figures.asked.high or 0.0) + START_S["high"] / 3600,
        )
        hours = Interval(hours_of(found, "estimate"), hours_of(bounds("low"), "low"), slowest)
    told = [bound for bound in found if bound.minutes > 0]
    return Projection(sent.times, rows, figures, hours, told)


class _Totals:
    """The figures that budgets are held against, and how far they may be off."""

    def __init__(self, figures: Figures, tokens_of_users: int) -> None:
        self.figures = figures
        incoming, outgoing = figures.input_tokens, figures.output_tokens
        self.tokens = Interval(
            _plus(incoming.estimate, outgoing.estimate),
            _plus(incoming.low, outgoing.low),
            _plus(incoming.high, outgoing.high),
        )
        self._best_tokens = sum(need.tokens for need in figures.calls.values())
        self._tokens_of_users = tokens_of_users

    def of_rows(self, which: str) -> float:
        """Return a figure of rows, as a part of the best one."""
        return _ratio(getattr(self.figures.asked, which), self.figures.asked.estimate)

    def of_busy(self, which: str) -> float:
        """Return a figure of seconds, as a part of the best one."""
        return _ratio(getattr(self.figures.busy, which), self.figures.busy.estimate)

    def of_tokens(self, which: str) -> float:
        """Return a figure of tokens, as a part of the best one."""
        return _ratio(getattr(self.tokens, which), self._best_tokens)

    def of_users_tokens(self) -> float:
        """Return the tokens by which users are counted, as a part of those of the models."""
        return _ratio(self._best_tokens, self._tokens_of_users)


def _work(totals: _Totals, users: Mapping[str | None, Need], rows: float, which: str) -> Work:
    of_rows, of_tokens = totals.of_rows(which), totals.of_tokens(which)
    busy_s = totals.figures.busy_s
    of_users = of_tokens * totals.of_users_tokens()
    return Work(
        rows,
        {m: _times(need, of_rows, of_tokens) for m, need in totals.figures.calls.items()},
        {u: _times(need, of_rows, of_users) for u, need in users.items() if need.rows},
        None if busy_s is None else {m: s * totals.of_busy(which) for m, s in busy_s.items()},
    )


def _times(need: Need, of_rows: float, of_tokens: float) -> Need:
    found = Need()
    found.add(round(need.rows * of_rows), round(need.tokens * of_tokens))
    return found


def _ratio(part: float | None, of: float | None) -> float:
    """Return a ratio, 1 where it is not known."""
    return part / of if part is not None and of else 1.0


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _named(bound: Bound) -> dict[str, Any]:
    return {
        "scope": bound.scope,
        "name": bound.name,
        "budget": bound.budget,
        "hours": round(bound.minutes / 60, 6),
    }


def figure(span: Interval, digits: int | None = None) -> dict[str, float | None]:
    """Return a span as JSON; without `digits` in whole numbers."""
    return {
        name: None if value is None else round(value, digits)
        for name, value in asdict(span).items()
    }
