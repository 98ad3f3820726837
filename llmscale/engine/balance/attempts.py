"""A call in progress: what is sent, the attempts so far, what an attempt cost."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from llmscale.accounting.stats import Waited
from llmscale.accounting.tokens import TokenEstimate
from llmscale.core.protocols import Reservation
from llmscale.core.records import Failure, FailureKind, Reply, Request
from llmscale.engine.balance.endpoint import Endpoint
from llmscale.engine.balance.pool import Pool

# what says that something took too long after it was taken on, or does not say what it did
_DOUBTFUL_STATUSES = frozenset({408, 504, 524})
_DOUBTFUL_KINDS = frozenset({"timeout", "connection", "bad_response", "internal"})

MAX_WINDOW_S = 60.0
"""The longest time for which a limit of requests a minute lets nothing in."""

MAX_BACKOFFS = 5
MAX_PACED_BACKOFFS = 3
"""After so many refusals the backoff grows no more.

They are waited out, so a row may have many, and must not sleep for a minute beside free slots.
Fewer where the endpoint adapts its pace.
"""

CONTENT_LIKE: frozenset[FailureKind] = frozenset({"server_error", "bad_response"})
"""Failures that may be those of one row in a call, whatever their status says."""


class Call(NamedTuple):
    """What is to be sent, and what it is thought to take."""

    requests: Sequence[Request]
    model: str
    pool: Pool
    max_call_usd: float  # that an attempt can cost; 0 where nobody asks
    tokens: int = 0  # 0 where no endpoint counts them
    estimate: TokenEstimate | None = None  # None: nobody reads it
    failed_before: int | None = None  # calls with these rows; None: it can't be divided

    def may_be_content(self, failure: Failure) -> bool:
        """Tell whether a failure may be that of one row of several, and not of the endpoint."""
        return self.failed_before is not None and failure.kind in CONTENT_LIKE

    def reconcile(self, endpoint: Endpoint, replies: Sequence[Reply]) -> None:
        """Replace the estimated tokens of an answered call by those that it used."""
        if self.estimate is not None:
            self.estimate.learn(self.requests, replies)
        if self.tokens and endpoint.limiter is not None:
            used = sum(r.usage.total_tokens for r in replies)
            endpoint.limiter.reconcile(self.tokens, used or self.tokens)


class Slot(NamedTuple):
    """Where an attempt may be sent now, and the reservation for it."""

    endpoint: Endpoint
    waited: Waited
    reservation: Reservation | None = None  # None: no cap


class Attempts:
    """The attempts of a call so far."""

    def __init__(self, began_s: float, latest_s: float) -> None:
        self.count = 0
        self.latest_s = latest_s  # for the last attempt to begin
        self.tried: set[Endpoint] = set()
        self.own_failures = 0  # at endpoints whose circuit was closed, and stayed so
        self.refusals = 0  # by a rate limit, waited out, as far as the backoff depends on them
        self._began_s = began_s
        self._trips = 0

    def failed(self, endpoint: Endpoint, pool: Pool, failure: Failure, now_s: float) -> None:
        """Note a failure."""
        self.tried.add(endpoint)
        if self._trips != pool.trips:  # so the failures before were the endpoint's
            self._trips, self.own_failures = pool.trips, 0
        if self.is_waited_out(endpoint, failure, now_s):
            most = MAX_BACKOFFS if endpoint.window is None else MAX_PACED_BACKOFFS
            self.refusals = min(self.refusals + 1, most)
        else:
            self.own_failures += endpoint.breaker.is_closed

    def is_waited_out(self, endpoint: Endpoint, failure: Failure, now_s: float) -> bool:
        """Tell whether a failure is a rate limit of an endpoint that answers other rows.

        That does not use up an attempt: the row waits. Before the first answer, calls in flight
        count as such rows, for as long as a window of a minute may be closed.
        """
        if failure.kind != "rate_limited":
            return False
        if endpoint.answered_s >= self._began_s:
            return True
        return endpoint.in_flight > 1 and now_s - self._began_s < MAX_WINDOW_S

    @property
    def backoff_step(self) -> int:
        """The failures that the length of the backoff depends on."""
        return self.own_failures + self.refusals


def counts_as_retry(endpoint: Endpoint, failure: Failure) -> bool:
    """Tell whether a retry spends the retry budget.

    Rate limits are waited out at an adapted pace; a half-open circuit gets one call at a time.
    """
    return failure.kind != "rate_limited" and endpoint.breaker.is_closed


def cost_of_replies_usd(replies: Sequence[Reply]) -> float | None:
    """Return what an attempt has cost; None where a price or the usage is not known."""
    costs = [reply.cost_usd for reply in replies]
    known = [cost_usd for cost_usd in costs if cost_usd is not None]
    return sum(known) if len(known) == len(costs) else None


def cost_of_failure_usd(failure: Failure) -> float | None:
    """Return what a failed attempt has cost; None where it may have been billed, or not.

    Providers bill what they have answered, also where nobody was left to read it.
    """
    if failure.reply is not None:
        return failure.reply.cost_usd
    if failure.unsent:
        return 0.0
    if failure.status is not None and failure.status >= 400:
        return None if failure.status in _DOUBTFUL_STATUSES else 0.0
    return None if failure.kind in _DOUBTFUL_KINDS else 0.0


def stamped(reply: Reply, endpoint: Endpoint, model: str, attempt: int, latency_s: float) -> Reply:
    """Return a reply with what its provider could not know of it."""
    return replace(
        reply,
        answered_by=model,
        endpoint=endpoint.name,
        attempts=attempt,
        latency_s=latency_s,
        cost_usd=None if reply.unknown_counts else endpoint.prices.cost_usd(model, reply.usage),
    )
