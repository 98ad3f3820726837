"""How long limits make rows take: a lower bound for each limit of an endpoint or a user.

`limits` and `estimate` compare these bounds; the longest one limits the job. Nothing here reads a
row or knows what was measured.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from llmscale.config import EndpointConfig
from llmscale.engine.limits import DAY_S
from llmscale.runtime.limit_terms import Terms, terms_of_limit
from llmscale.runtime.models import Models

Scope = Literal["endpoint", "user", "run"]
LimitName = Literal["rpm", "tpm", "rpd", "tpd", "concurrency", "process"]

LIMIT_NAMES: Mapping[LimitName, str] = {
    "rpm": "requests/min",
    "tpm": "tokens/min",
    "rpd": "requests/day",
    "tpd": "tokens/day",
    "concurrency": "calls in flight",
    "process": "throughput",
}
"""Limits in words, each followed by whose it is: "requests/min of openai/m"."""


class Need:
    """Requests and tokens that rows will take. Mutable: rows are counted one by one."""

    __slots__ = ("rows", "tokens")

    def __init__(self, rows: float = 0, tokens: float = 0) -> None:
        """Round both to whole numbers."""
        self.rows = round(rows)
        self.tokens = round(tokens)

    def add(self, rows: int, tokens: int) -> None:
        """Count more rows."""
        self.rows += rows
        self.tokens += tokens

    def times(self, rows: float, tokens: float) -> "Need":
        """Return a need of so many times the rows and so many times the tokens."""
        return Need(self.rows * rows, self.tokens * tokens)


class Binding(msgspec.Struct, frozen=True):
    """The limit that makes a job take as long as it does."""

    scope: Scope
    name: str  # of the endpoint or the user
    budget: LimitName

    def __str__(self) -> str:
        """Return it in words: "requests/min of user anna"."""
        whose = "user " if self.scope == "user" else ""
        return f"{LIMIT_NAMES[self.budget]} of {whose}{self.name}"


class Bound(NamedTuple):
    """The shortest time that a limit leaves for its rows."""

    minutes: float
    binding: Binding


def user_bounds(
    terms_of_user: Callable[[str], Terms], by_user: Mapping[str | None, Need]
) -> Iterator[Bound]:
    """Yield the longest bound of each user."""
    for user, need in by_user.items():
        if user is None:
            continue
        terms = terms_of_user(user)
        rows_min = _minutes(need.rows, terms.rpm, terms.at_once)
        tokens_min = _minutes(need.tokens, terms.tpm, terms.tokens_at_once)
        yield max(
            Bound(rows_min, Binding("user", user, "rpm")),
            Bound(tokens_min, Binding("user", user, "tpm")),
            key=lambda bound: bound.minutes,
        )


def endpoint_bounds(
    models: Models,
    by_model: Mapping[str, Need],
    now_s: float,
    terms_of_endpoint: Callable[[EndpointConfig], Terms] = terms_of_limit,
) -> Iterator[Bound]:
    """Yield the bounds of each group of endpoints that serve the same models.

    `now_s`: the Unix time at which the job starts; daily limits reset at midnight UTC.
    """
    groups: dict[tuple[EndpointConfig, ...], Need] = {}
    for model, need in by_model.items():
        serving = tuple(models.endpoints_of(model))
        groups.setdefault(serving, Need()).add(need.rows, need.tokens)
    for serving, need in groups.items():
        name = ", ".join(models.label(e) for e in serving)
        minutes = _group_minutes(serving, need, now_s, [terms_of_endpoint(e) for e in serving])
        for limit, value in minutes.items():
            yield Bound(value, Binding("endpoint", name, limit))


def _group_minutes(
    serving: Sequence[EndpointConfig], need: Need, now_s: float, terms: Sequence[Terms]
) -> dict[LimitName, float]:
    """Return the minutes for each limit of endpoints that share their rows."""
    rpm, tpm = _sum(t.rpm for t in terms), _sum(t.tpm for t in terms)
    rpd, tpd = _sum(e.rpd for e in serving), _sum(e.tpd for e in serving)
    return {
        "rpm": _minutes(need.rows, rpm, sum(t.at_once for t in terms)),
        "tpm": _minutes(need.tokens, tpm, sum(t.tokens_at_once for t in terms)),
        "rpd": _days_as_minutes(need.rows, rpd, now_s),
        "tpd": _days_as_minutes(need.tokens, tpd, now_s),
    }


def _minutes(amount: float, a_minute: float | None, at_once: float) -> float:
    return 0.0 if a_minute is None else max(0.0, amount - at_once) / a_minute


def _days_as_minutes(amount: float, a_day: float | None, now_s: float) -> float:
    """Return the minutes until the midnight (UTC) after which the last of it may go."""
    if a_day is None or amount <= a_day:
        return 0.0
    days = math.ceil(amount / a_day) - 1
    return (days * DAY_S - now_s % DAY_S) / 60


def _sum(limits_of_each: Iterable[float | None]) -> float | None:
    """Return the limit of all: None where one of them has none."""
    total = 0.0
    for limit in limits_of_each:
        if limit is None:
            return None
        total += limit
    return total
