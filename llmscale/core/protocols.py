"""The two shapes that every layer between the reader and the network has.

A layer has the same shape outside and inside, so layers stack in any number; `batching` is the
only bridge from rows to calls. Nothing here does any work.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from llmscale.core.records import Limit, Outcome, Quota, Reply, Request

Settle = Callable[[int, Reply | Exception], None]
"""Takes over what a request has come to, named by its position among those that were asked for
together: the reply, or what it has met in its place.
"""


class Answers(Protocol):
    """Rows: questions, some at a time, and what each has come to as soon as it is known."""

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Settle every request once, in any order, and return when all are settled.

        With a `CallFailed` where this row can't be answered, with a `CallStopped` where it was not
        asked. Raises `JobError`, alone or in a group, when no row can be answered: those that are
        not settled by then stay pending.
        """
        ...


class Sends(Protocol):
    """Calls: what really goes out, one to n requests at a time."""

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Return one reply for each request, in the order of the requests.

        Raises `CallFailed` for the whole call, `JobError` when no further call makes sense.
        """
        ...


class Provider(Sends, Protocol):
    """A `Sends` that talks to one endpoint and holds what that needs (connections, weights).

    One `send` is one attempt: a provider classifies a failure, it never retries, waits or counts.
    """

    @property
    def quota(self) -> Quota | None:
        """What the endpoint has last said about its limits."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and weights; a second call does nothing."""
        ...


class RateLimiter(Protocol):
    """How many calls an endpoint may send over time. It only answers; it never waits."""

    @property
    def max_call_tokens(self) -> float | None:
        """The most tokens that one call can have; None: any number, and none need be estimated."""
        ...

    def wait_s(self, tokens: int) -> float:
        """Return the seconds until a call of `tokens` may go out, 0 when it may now."""
        ...

    def held_by(self, tokens: int) -> tuple[Limit, float]:
        """Return which limit a call of `tokens` waits for longest, and for how many seconds."""
        ...

    def take(self, tokens: int) -> None:
        """Count a call that goes out."""
        ...

    def correct(self, taken: int, used: int) -> None:
        """Replace the tokens that were taken for a call by those that it used."""
        ...

    def summary(self) -> dict[str, float | None]:
        """Return the limits as they were set and as the provider says they are, as JSON."""
        ...

    def learn(self, quota: Quota) -> list[str]:
        """Keep to what the provider says where that is less; return where it is not as was set."""
        ...


class Reservation(Protocol):
    """Dollars that are set aside for one attempt."""

    def settle(self, cost_usd: float | None) -> None:
        """Put what the attempt has cost in their place. None: nobody knows, it may be all."""
        ...


class Budget(Protocol):
    """The dollars that a job may cost. It is asked before each attempt and told after it."""

    def max_call_usd(self, requests: Sequence[Request]) -> float:
        """Return the most that a call can cost. Raises `CallFailed` where nothing bounds that."""
        ...

    async def reserve(self, model: str, max_call_usd: float) -> Reservation:
        """Set dollars aside for an attempt, as soon as there are so many.

        Raises `CallStopped` when there never will be: the run is stopping then.
        """
        ...

    def stop(self) -> None:
        """Let nobody wait any longer."""
        ...


class OutcomeSink(Protocol):
    """Where outcomes go: one for each row, in completion order."""

    def take_up(self, rows: int) -> None:
        """Note that so many rows are about to be asked."""
        ...

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Keep the outcomes of rows that were taken up, safe before this returns.

        Raises `StorageError`.
        """
        ...

    def put_back(self) -> None:
        """Note that a row that was taken up was not asked, and stays pending."""
        ...
