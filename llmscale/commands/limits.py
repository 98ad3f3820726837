"""`llmscale limits`: which limits apply to the rows of an input, and which one limits the job.

Reads the rows and nothing else: no key, no network, no cache. Tokens are estimated as at the start
of a run, so the minutes are a lower bound for the configured limits, not a forecast. Memory grows
with the number of users in the input, not with its rows.
"""

import heapq
import time
from collections.abc import Callable

import msgspec

from llmscale.accounting.tokens import TokenEstimate
from llmscale.commands.limit_bounds import Binding, Bound, Need, endpoint_bounds, user_bounds
from llmscale.config import Config, EndpointConfig
from llmscale.core.records import Row
from llmscale.engine.limits import DAY_S
from llmscale.rows.row_parser import rows_of
from llmscale.rows.sources import blocks_of_lines, expand
from llmscale.runtime.limit_terms import Terms, terms_of, terms_of_limit
from llmscale.runtime.models import Models, capacity_of
from llmscale.runtime.workload import chat_parser

MAX_USERS = 50  # that are listed one by one


class BudgetState(msgspec.Struct, frozen=True):
    """A limit, and how much of it is left."""

    limit: float
    left: float
    resets_in_s: float


class EndpointBudgets(msgspec.Struct, frozen=True):
    """The limits of an endpoint; None: not limited."""

    name: str
    capacity: int  # calls in flight
    rpm: BudgetState | None
    tpm: BudgetState | None
    burst: float | None
    rpd: BudgetState | None
    tpd: BudgetState | None


class UserBudgets(msgspec.Struct, frozen=True):
    """The rows and limits of a user; None: not limited."""

    user: str
    rows: int
    tokens: int
    rpm: BudgetState | None
    tpm: BudgetState | None
    burst: float | None
    minutes: float  # that the rows take at least


class LimitsResult(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a job, and how long they make it take at least."""

    rows: int
    bad_rows: int  # that can't be parsed
    too_large: int  # rows with more tokens than their user has in a minute
    tokens: int
    rows_without_user: int
    minutes: float
    binds: Binding | None  # None: no limit makes the job wait
    endpoints: list[EndpointBudgets]
    users: list[UserBudgets]  # the slowest `MAX_USERS`, slowest first
    more_users: int


class _Needs:
    """Requests and tokens of the rows, by user and by model."""

    def __init__(self, terms_of_user: Callable[[str], Terms]) -> None:
        self.by_user: dict[str | None, Need] = {}
        self.by_model: dict[str, Need] = {}
        self.total = Need()
        self.bad_rows = 0
        self.too_large = 0
        self._terms_of_user = terms_of_user
        self._estimate = TokenEstimate()

    def add(self, row: Row) -> None:
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


def limits(config: Config) -> LimitsResult:
    """Return the limits of a job. Raises `ConfigError`."""
    models, terms_of_user = Models(config.models), terms_of(config.limits)
    needs = _read(config, models, terms_of_user)
    users = list(user_bounds(terms_of_user, needs.by_user))
    slowest = heapq.nlargest(MAX_USERS, users, key=lambda bound: bound.minutes)
    bounds = [*slowest[:1], *endpoint_bounds(models, needs.by_model, time.time())]
    longest = max(bounds, key=lambda bound: bound.minutes, default=None)
    binding = longest if longest is not None and longest.minutes > 0 else None
    return LimitsResult(
        rows=needs.total.rows,
        bad_rows=needs.bad_rows,
        too_large=needs.too_large,
        tokens=needs.total.tokens,
        rows_without_user=needs.by_user.get(None, Need()).rows,
        minutes=0.0 if binding is None else round(binding.minutes, 3),
        binds=None if binding is None else binding.binding,
        endpoints=[_endpoint(config, models, endpoint) for endpoint in models.endpoints],
        users=[_user(bound, terms_of_user, needs.by_user) for bound in slowest],
        more_users=len(users) - len(slowest),
    )


def _read(config: Config, models: Models, terms_of_user: Callable[[str], Terms]) -> _Needs:
    needs = _Needs(terms_of_user)
    lines = blocks_of_lines(expand(config.files.inputs))
    for rows in rows_of(chat_parser(config, models), lines, config.files.limit):
        for row in rows:
            needs.add(row)
    return needs


def _endpoint(config: Config, models: Models, endpoint: EndpointConfig) -> EndpointBudgets:
    midnight_in_s = DAY_S - time.time() % DAY_S
    terms = terms_of_limit(endpoint)
    return EndpointBudgets(
        name=models.label(endpoint),
        capacity=capacity_of(config.models.concurrency, endpoint),
        rpm=_full(terms.rpm),
        tpm=_full(terms.tpm),
        burst=_burst(terms),
        rpd=_full(endpoint.rpd, midnight_in_s),
        tpd=_full(endpoint.tpd, midnight_in_s),
    )


def _user(
    bound: Bound, terms_of_user: Callable[[str], Terms], by_user: dict[str | None, Need]
) -> UserBudgets:
    user = bound.binding.name
    need, terms = by_user[user], terms_of_user(user)
    return UserBudgets(
        user=user,
        rows=need.rows,
        tokens=need.tokens,
        rpm=_full(terms.rpm),
        tpm=_full(terms.tpm),
        burst=_burst(terms),
        minutes=round(bound.minutes, 3),
    )


def _full(limit: float | None, resets_in_s: float = 0.0) -> BudgetState | None:
    """Return an unused limit: one per minute is always full, one per day resets at midnight."""
    return None if limit is None else BudgetState(limit, limit, round(resets_in_s, 1))


def _burst(terms: Terms) -> float | None:
    return terms.at_once if terms.rpm is not None else None
