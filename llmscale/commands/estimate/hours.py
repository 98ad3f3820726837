"""How long rows take, by each thing that may bind: limits, users, calls in flight, this process.

A run takes as long as the slowest of these, since they work at the same time. What a figure does
not hold: rests of endpoints that are ill, and other programs on the same machine or the same key.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from llmscale.accounting.forecast.saved_estimate import Pace
from llmscale.commands.limits import Bound, Need, endpoint_bounds, user_bounds
from llmscale.config import Config, EndpointConfig
from llmscale.runtime.limit_terms import Terms, terms_of, terms_of_limit
from llmscale.runtime.models import Models, capacity_of

ROWS_PER_S = {"low": 10_000.0, "estimate": 3_000.0, "high": 1_000.0}
"""Rows that one process takes through its layers; the fewest make the hours the most."""

START_S = {"low": 0.2, "estimate": 1.0, "high": 10.0}
"""Until the first call goes out: reading, connecting, loading weights."""


class Work(NamedTuple):
    """What rows will take."""

    rows: float  # with those that are answered from the cache
    by_model: Mapping[str, Need]  # calls and their tokens
    by_user: Mapping[str | None, Need]
    busy_s: Mapping[str, float] | None = None  # by model, all calls together; None: not known


class Pacing(NamedTuple):
    """How fast calls may go: as it is set, and as it was found."""

    config: Config
    models: Models
    paces: Mapping[str, Pace]  # by name of endpoint
    rows_per_s: float | None = None  # of the sample, with its start and its end


def bounds_of(pacing: Pacing, work: Work, which: str) -> list[Bound]:
    """Return what may bind, with its minutes. `which` of the figures they are: low, ..."""
    config, models = pacing.config, pacing.models
    bounds = [*user_bounds(terms_of(config.limits), work.by_user)]
    bounds += endpoint_bounds(models, work.by_model, time.time(), _terms_of_endpoint(pacing))
    if work.busy_s is not None:
        bounds += _in_flight(pacing, work.busy_s, which)
    bounds.append(Bound(work.rows / ROWS_PER_S[which] / 60, "run", "this process", "process"))
    return bounds


def hours_of(bounds: list[Bound], which: str) -> float:
    """Return the hours of a run that is bound so."""
    longest = max((bound.minutes for bound in bounds), default=0.0)
    return longest / 60 + START_S[which] / 3600


def hours_at_pace(pacing: Pacing, calls: float) -> float:
    """Return the hours of so many calls as fast as those of the sample, which is the least."""
    return calls / pacing.rows_per_s / 3600 if pacing.rows_per_s else 0.0


def _terms_of_endpoint(pacing: Pacing) -> Callable[[EndpointConfig], Terms]:
    """Return what tells the limits of an endpoint: the lower ones of those set and those told."""

    def terms_of_endpoint(endpoint: EndpointConfig) -> Terms:
        terms = terms_of_limit(endpoint)
        pace = pacing.paces.get(pacing.models.label(endpoint))
        if pace is None:
            return terms
        rpm, tpm = _lower(terms.rpm, pace.rpm), _lower(terms.tpm, pace.tpm)
        return Terms(rpm, tpm, terms.burst if rpm == terms.rpm else None)

    return terms_of_endpoint


def _in_flight(pacing: Pacing, busy_s: Mapping[str, float], which: str) -> Iterator[Bound]:
    """Yield how long calls take that can't all be in flight at once."""
    config, models = pacing.config, pacing.models
    groups: dict[tuple[EndpointConfig, ...], float] = {}
    for model, seconds in busy_s.items():
        serving = tuple(models.endpoints_of(model))
        groups[serving] = groups.get(serving, 0.0) + seconds
    for serving, seconds in groups.items():
        room = sum(_room(pacing, endpoint, which) for endpoint in serving)
        name = ", ".join(models.label(endpoint) for endpoint in serving)
        yield Bound(seconds / room / 60, "endpoint", name, "concurrency")
    if config.models.concurrency is not None:
        minutes = sum(busy_s.values()) / config.models.concurrency / 60
        yield Bound(minutes, "run", "--concurrency", "concurrency")


def _room(pacing: Pacing, endpoint: EndpointConfig, which: str) -> float:
    """Return the calls in flight: as many as are set, or as many as it bore in the sample."""
    capacity = float(capacity_of(pacing.config.models.concurrency, endpoint))
    pace = pacing.paces.get(pacing.models.label(endpoint))
    if pace is None or which == "low" or (which == "estimate" and pace.grows):
        return capacity
    return min(capacity, pace.room)


def _lower(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return min(known, default=None)
