"""Projects a forecast to a run now or to many times the rows: dollars, tokens, hours, what limits.

The hours are those of the slowest thing that can limit the run, computed for the low, the best and
the high value of its work. Counts alone give only a lower bound, because the time of a call is
unknown. With a sample the upper bound is the pace of the sample, which includes a slow start.
"""

from collections.abc import Mapping
from typing import NamedTuple

from llmscale.accounting.forecast.interval import UNKNOWN, Interval, sum_intervals
from llmscale.accounting.forecast.saved_estimate import Sample
from llmscale.commands.estimate.forecast import Forecast, Forecaster, counted_needs
from llmscale.commands.estimate.hours import (
    START_S,
    Level,
    Pacing,
    Work,
    bounds_of,
    hours_at_pace,
    hours_of,
)
from llmscale.commands.estimate.job_state import JobState
from llmscale.commands.estimate.row_columns import Selection, select_rows
from llmscale.commands.limit_bounds import Bound, Need

_LEVELS: tuple[Level, ...] = ("low", "estimate", "high")


class Projection(NamedTuple):
    """What so many times the rows will take."""

    scale: float
    rows: float  # without those that have an answer in OUT
    forecast: Forecast
    hours: Interval
    bounds: list[Bound]  # that take any time, slowest first


class Estimate(NamedTuple):
    """What a job will take: now, and with more rows."""

    now: Projection
    scaled: Projection
    sample: Sample | None  # that the forecasts come from; None: from counts alone
    usd_deviation: float  # standard deviation of the cost of one row; 0: unknown


def project(
    job: JobState, forecaster: Forecaster, sample: Sample | None, scale: float | None = None
) -> Projection:
    """Return what a run takes now; with `scale`, that many times the rows, from scratch.

    `sample`: that the forecaster uses; None: it uses counts.
    """
    selection = select_rows(job.columns, scale)
    forecast = forecaster.forecast(selection)
    measured = (sample.paces, sample.rows_per_s) if sample else ({}, None)
    pacing = Pacing(job.config, job.models, *measured)
    work = _Work(job, selection, forecast)
    bounds = {level: bounds_of(pacing, work.at(level), level) for level in _LEVELS}
    found = sorted(bounds["estimate"], key=lambda bound: -bound.minutes)
    if forecast.busy_s is None:  # unknown, and calls may well be slower than the process
        found = [bound for bound in found if bound.binding.budget != "process"]
    return Projection(
        selection.scale,
        work.rows,
        forecast,
        _hours(pacing, forecast, bounds),
        [bound for bound in found if bound.minutes > 0],
    )


def _hours(pacing: Pacing, forecast: Forecast, bounds: Mapping[Level, list[Bound]]) -> Interval:
    low = hours_of(bounds["low"], "low")
    if forecast.busy_s is None:
        return Interval(None, low, None)
    if None in (forecast.busy.estimate, _tokens(forecast).estimate):
        return UNKNOWN
    slowest = max(
        hours_of(bounds["high"], "high"),
        hours_at_pace(pacing, forecast.asked.high or 0.0) + START_S["high"] / 3600,
    )
    return Interval(hours_of(bounds["estimate"], "estimate"), low, slowest)


class _Work:
    """The work of the selected rows at each level of the forecast."""

    def __init__(self, job: JobState, selection: Selection, forecast: Forecast) -> None:
        columns, counts = job.columns, job.counts
        is_open = columns.is_row if selection.from_scratch else columns.is_row & ~columns.answered
        self.rows = float(is_open.sum()) * selection.scale
        needs = counted_needs("users", counts, columns, selection)
        self._by_user = {u: n for u, n in zip(counts.users, needs, strict=True) if n.rows}
        self._forecast = forecast
        self._best_tokens = sum(need.tokens for need in forecast.calls.values())
        # users are counted before the sample, models after it
        self._user_factor = _ratio(self._best_tokens, sum(need.tokens for need in needs))

    def at(self, level: Level) -> Work:
        """Return the work at a level."""
        forecast = self._forecast
        rows = _ratio(getattr(forecast.asked, level), forecast.asked.estimate)
        tokens = _ratio(getattr(_tokens(forecast), level), self._best_tokens)
        busy = _ratio(getattr(forecast.busy, level), forecast.busy.estimate)
        busy_s = forecast.busy_s
        return Work(
            self.rows,
            {model: need.times(rows, tokens) for model, need in forecast.calls.items()},
            _times(self._by_user, rows, tokens * self._user_factor),
            None if busy_s is None else {model: s * busy for model, s in busy_s.items()},
        )


def _tokens(forecast: Forecast) -> Interval:
    return sum_intervals([forecast.input_tokens, forecast.output_tokens])


def _times(needs: Mapping[str | None, Need], rows: float, tokens: float) -> dict[str | None, Need]:
    return {name: need.times(rows, tokens) for name, need in needs.items()}


def _ratio(part: float | None, of: float | None) -> float:
    """Return a ratio; 1 where it is unknown."""
    return part / of if part is not None and of else 1.0
