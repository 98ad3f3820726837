"""A run in which nothing was ever answered: it stops, instead of failing row by row for minutes.

A wrong address, a server that is down, a model that is not there. What passes by itself (a rate
limit, a server that is loading) and what is a row's own (its length, its content) is not counted.
"""

from collections import Counter

from llmscale.core.errors import ProviderRefused
from llmscale.core.records import Failure, FailureKind
from llmscale.engine.balance.endpoint import Endpoint
from llmscale.engine.balance.pool import Pool

MAX_FAILED = 20

_NOT_COUNTED: frozenset[FailureKind] = frozenset(
    {"rate_limited", "overloaded", "context_length", "content_filter", "unauthorized"}
)


class FirstCalls:
    """The calls of a run until the first answer."""

    def __init__(self) -> None:
        self._has_answered = False
        self._failed: dict[FailureKind, Counter[Endpoint]] = {}

    def answered(self) -> None:
        """Note an answer; from now on no failure is one of the first."""
        self._has_answered = True
        self._failed.clear()

    def failed(self, pool: Pool, endpoint: Endpoint, failure: Failure) -> None:
        """Note a failed call. Raises `ProviderRefused` when enough have failed in the same way.

        Not where another model would answer, nor before every endpoint of the model has failed.
        """
        if self._has_answered or failure.kind in _NOT_COUNTED or pool.has_fallback:
            return
        failed = self._failed.setdefault(failure.kind, Counter())
        failed[endpoint] += 1
        if failed.total() < MAX_FAILED or not pool.has_all(failed):
            return
        raise ProviderRefused(
            f"nothing was answered: the first {failed.total()} calls to {endpoint.name} failed "
            f"alike ({failure.message}); check the model and the address"
            + (f": curl -sS {endpoint.address}/models" if endpoint.address else "")
        )
