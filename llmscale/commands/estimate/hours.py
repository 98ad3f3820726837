"""How long rows take by each thing that can limit a run: limits, users, calls in flight, CPU.

A run takes as long as the slowest of these, since all work at the same time. Not included: the
cooldowns of endpoints that fail, and other programs that use the same machine or the same key.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from llmscale.accounting.forecast.saved_estimate import Pace
from llmscale.commands.limit_bounds import (
    Binding,
    Bound,
    Need,
    endpoint_bounds,
    user_bounds,
)
from llmscale.config import Config, EndpointConfig
from llmscale.runtime.limit_terms import Terms, terms_of, terms_of_limit
from llmscale.runtime.models import Models, capacity_of

Level = Literal["low", "estimate", "high"]
"""Which value of an interval a computation is for."""

ROWS_PER_S: Mapping[Level, float] = {"low": 10_000.0, "estimate": 3_000.0, "high": 1_000.0}
"""Rows per second that one process takes through its layers; the fewest give the most hours."""

START_S: Mapping[Level, float] = {"low": 0.2, "estimate": 1.0, "high": 10.0}
"""Seconds until the first call is sent: reading, connecting, loading weights."""


class Work(NamedTuple):
    """What rows will take."""

    rows: float  # including those that the cache answers
    by_model: Mapping[str, Need]  # calls and their tokens
    by_user: Mapping[str | None, Need]
    busy_s: Mapping[str, float] | None = None  # seconds of all calls, by model; None: unknown


class Pacing(NamedTuple):
    """How fast calls may go, as configured and as measured by a sample."""

    config: Config
    models: Models
    paces: Mapping[str, Pace]  # by name of endpoint
    rows_per_s: float | None = None  # of the sample, including its start and its end


def bounds_of(pacing: Pacing, work: Work, level: Level) -> list[Bound]:
    """Return the minutes for each thing that can limit a run."""
    config, models = pacing.config, pacing.models
    bounds = [*user_bounds(terms_of(config.limits), work.by_user)]
    bounds += endpoint_bounds(models, work.by_model, time.time(), _terms_of_endpoint(pacing))
    if work.busy_s is not None:
        bounds += _in_flight(pacing, work.busy_s, level)
    process_min = work.rows / ROWS_PER_S[level] / 60
    return [*bounds, Bound(process_min, Binding("run", "this process", "process"))]


def hours_of(bounds: list[Bound], level: Level) -> float:
    """Return the hours of a run with these bounds, including its start."""
    longest = max((bound.minutes for bound in bounds), default=0.0)
    return longest / 60 + START_S[level] / 3600


def hours_at_pace(pacing: Pacing, calls: float) -> float:
    """Return the hours of so many calls at the pace of the sample, the slowest to expect."""
    return calls / pacing.rows_per_s / 3600 if pacing.rows_per_s else 0.0


def _terms_of_endpoint(pacing: Pacing) -> Callable[[EndpointConfig], Terms]:
    """Return a function that returns the lower of an endpoint's configured and reported limits."""

    def terms_of_endpoint(endpoint: EndpointConfig) -> Terms:
        terms = terms_of_limit(endpoint)
        pace = pacing.paces.get(pacing.models.label(endpoint))
        if pace is None:
            return terms
        rpm, tpm = _lower(terms.rpm, pace.rpm), _lower(terms.tpm, pace.tpm)
        return Terms(rpm, tpm, terms.burst if rpm == terms.rpm else None)

    return terms_of_endpoint


def _in_flight(pacing: Pacing, busy_s: Mapping[str, float], level: Level) -> Iterator[Bound]:
    """Yield the bounds of limits on calls in flight."""
    config, models = pacing.config, pacing.models
    groups: dict[tuple[EndpointConfig, ...], float] = {}
    for model, seconds in busy_s.items():
        serving = tuple(models.endpoints_of(model))
        groups[serving] = groups.get(serving, 0.0) + seconds
    for serving, seconds in groups.items():
        slots = sum(_max_in_flight(pacing, endpoint, level) for endpoint in serving)
        name = ", ".join(models.label(endpoint) for endpoint in serving)
        yield Bound(seconds / slots / 60, Binding("endpoint", name, "concurrency"))
    if config.models.concurrency is not None:
        minutes = sum(busy_s.values()) / config.models.concurrency / 60
        yield Bound(minutes, Binding("run", "--concurrency", "concurrency"))


def _max_in_flight(pacing: Pacing, endpoint: EndpointConfig, level: Level) -> float:
    """Return the calls in flight: as configured, or as many as the endpoint took in the sample."""
    capacity = float(capacity_of(pacing.config.models.concurrency, endpoint))
    pace = pacing.paces.get(pacing.models.label(endpoint))
    if pace is None or level == "low" or (level == "estimate" and pace.grows):
        return capacity
    return min(capacity, pace.max_in_flight)


def _lower(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return min(known, default=None)
