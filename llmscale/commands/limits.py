"""`llmscale limits`: which budgets apply to the rows of an input, and which of them binds the job.

Reads the rows and nothing else: no key, no network, no cache. Tokens are estimated as at the start
of a run, so the minutes are the least that the limits as they are set allow, not a forecast. Memory
grows with the users of the input, not with its rows.
"""

import heapq
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from llmscale.accounting.tokens import TokenEstimate
from llmscale.config import Config, EndpointConfig
from llmscale.core.records import Row
from llmscale.engine.limits import DAY_S
from llmscale.rows.row_parser import rows_of
from llmscale.rows.sources import blocks_of_lines, expand
from llmscale.runtime.limit_terms import Terms, terms_of, terms_of_limit
from llmscale.runtime.models import Models, capacity_of
from llmscale.runtime.workload import chat_parser

MAX_USERS = 50  # that are told one by one


class Need:
    """What rows will take."""

    __slots__ = ("rows", "tokens")

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0

    def add(self, rows: int, tokens: int) -> None:
        """Count rows."""
        self.rows += rows
        self.tokens += tokens


class Bound(NamedTuple):
    """How long a budget makes its rows take at least."""

    minutes: float
    scope: str  # "endpoint" or "user"
    name: str
    budget: str  # "rpm", "tpm", "rpd" or "tpd"


class Needs:
    """What the rows of an input will take, by user and by model."""

    def __init__(self, terms_of_user: Callable[[str], Terms]) -> None:
        self.by_user: dict[str | None, Need] = {}
        self.by_model: dict[str, Need] = {}
        self.total = Need()
        self.bad_rows = 0
        self.too_large = 0  # for a minute of their user
        self._terms_of_user = terms_of_user
        self._estimate = TokenEstimate()

    def add(self, row: Row) -> None:
        """Count a row."""
        if row.request is None:
            self.bad_rows += 1
            return
        tokens = self._estimate.of((row.request,))
        model = self.by_model.setdefault(row.request.model, Need())
        user = self.by_user.setdefault(row.user, Need())
        for need in (self.total, model, user):
            need.add(1, tokens)
        tpm = None if row.user is None else self._terms_of_user(row.user).tpm
        self.too_large += tpm is not None and tokens > tpm


def limits(config: Config) -> dict[str, Any]:
    """Return the budgets, as JSON. Raises `ConfigError`."""
    models = Models(config.models)
    terms_of_user = terms_of(config.limits)
    needs = Needs(terms_of_user)
    lines = blocks_of_lines(expand(config.files.inputs))
    for rows in rows_of(chat_parser(config, models), lines, config.files.limit):
        for row in rows:
            needs.add(row)
    users = list(user_bounds(terms_of_user, needs.by_user))
    slowest = heapq.nlargest(MAX_USERS, users, key=lambda bound: bound.minutes)
    bounds = [*slowest[:1], *endpoint_bounds(models, needs.by_model, time.time())]
    binding = max(bounds, key=lambda bound: bound.minutes, default=None)
    binds = binding is not None and binding.minutes > 0
    return {
        "rows": needs.total.rows,
        "bad_rows": needs.bad_rows,
        "too_large": needs.too_large,
        "tokens": needs.total.tokens,
        "rows_without_user": needs.by_user.get(None, Need()).rows,
        "minutes": round(binding.minutes, 3) if binding and binds else 0.0,
        "binds": _named(binding) if binding and binds else None,
        "endpoints": [
            _endpoint(models, e, capacity_of(config.models.concurrency, e))
            for e in models.endpoints
        ],
        "users": [_user(terms_of_user(b.name), needs.by_user[b.name], b) for b in slowest],
        "more_users": len(users) - len(slowest),
    }


def _named(bound: Bound) -> dict[str, str]:
    return {"scope": bound.scope, "name": bound.name, "budget": bound.budget}


def _endpoint(models: Models, endpoint: EndpointConfig, capacity: int) -> dict[str, Any]:
    midnight_in_s = DAY_S - time.time() % DAY_S
    return {
        "name": models.label(endpoint),
        "capacity": capacity,
        **_minute_budgets(terms_of_limit(endpoint)),
        "rpd": _full(endpoint.rpd, midnight_in_s),
        "tpd": _full(endpoint.tpd, midnight_in_s),
    }


def _minute_budgets(terms: Terms) -> dict[str, Any]:
    return {
        "rpm": _full(terms.rpm, 0.0),
        "tpm": _full(terms.tpm, 0.0),
        "burst": terms.at_once if terms.rpm is not None else None,
    }


def _full(limit: float | None, resets_in_s: float) -> dict[str, float] | None:
    """A budget of which nothing is used: a minute's is always whole, a day's ends at midnight."""
    if limit is None:
        return None
    return {"limit": limit, "left": limit, "resets_in_s": round(resets_in_s, 1)}


def _user(terms: Terms, need: Need, bound: Bound) -> dict[str, Any]:
    return {
        "user": bound.name,
        "rows": need.rows,
        "tokens": need.tokens,
        **_minute_budgets(terms),
        "minutes": round(bound.minutes, 3),
    }


def user_bounds(
    terms_of_user: Callable[[str], Terms], by_user: Mapping[str | None, Need]
) -> Iterator[Bound]:
    """Yield the longest of the bounds of each user."""
    for user, need in by_user.items():
        if user is None:
            continue
        terms = terms_of_user(user)
        rows_min = _minutes(need.rows, terms.rpm, terms.at_once)
        tokens_min = _minutes(need.tokens, terms.tpm, terms.tokens_at_once)
        yield max(
            Bound(rows_min, "user", user, "rpm"),
            Bound(tokens_min, "user", user, "tpm"),
            key=lambda bound: bound.minutes,
        )


def endpoint_bounds(
    models: Models,
    by_model: Mapping[str, Need],
    now_s: float,
    terms_of_endpoint: Callable[[EndpointConfig], Terms] = terms_of_limit,
) -> Iterator[Bound]:
    """Yield the bounds of those endpoints together that answer for the same models."""
    groups: dict[tuple[EndpointConfig, ...], Need] = {}
    for model, need in by_model.items():
        serving = tuple(models.endpoints_of(model))
        groups.setdefault(serving, Need()).add(need.rows, need.tokens)
    for serving, need in groups.items():
        name = ", ".join(models.label(e) for e in serving)
        terms = [terms_of_endpoint(e) for e in serving]
        rows_min = _minutes(need.rows, _sum(t.rpm for t in terms), sum(t.at_once for t in terms))
        at_once = sum(t.tokens_at_once for t in terms)
        tokens_min = _minutes(need.tokens, _sum(t.tpm for t in terms), at_once)
        yield Bound(rows_min, "endpoint", name, "rpm")
        yield Bound(tokens_min, "endpoint", name, "tpm")
        rpd, tpd = _sum(e.rpd for e in serving), _sum(e.tpd for e in serving)
        yield Bound(_days_as_minutes(need.rows, rpd, now_s), "endpoint", name, "rpd")
        yield Bound(_days_as_minutes(need.tokens, tpd, now_s), "endpoint", name, "tpd")


def _minutes(amount: float, a_minute: float | None, at_once: float) -> float:
    return 0.0 if a_minute is None else max(0.0, amount - at_once) / a_minute


def _days_as_minutes(amount: float, a_day: float | None, now_s: float) -> float:
    """Return the minutes up to the midnight (UTC) after which the last of it may go."""
    if a_day is None or amount <= a_day:
        return 0.0
    days = math.ceil(amount / a_day) - 1
    return (days * DAY_S - now_s % DAY_S) / 60


def _sum(limits_of_each: Iterable[float | None]) -> float | None:
    """Return a limit of all together: none where one of them has none."""
    total = 0.0
    for limit in limits_of_each:
        if limit is None:
            return None
        total += limit
    return total
