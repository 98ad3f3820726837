"""The seams of the engine: layers of rows and of calls, providers, limits, money, sinks, the cache.

A layer has the same shape outside and inside, so layers stack in any number. The bridge from rows
to calls is `layers.batcher` or `layers.single_calls`. Nothing here does any work.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from llmscale.core.asked_row import AskedRow
from llmscale.core.cache_records import Contents, Entry, Pruned, StoredEntry
from llmscale.core.records import Limit, Outcome, Quota, Reply, Request


class Answers(Protocol):
    """Rows: each is asked, and its result delivered as soon as it is known."""

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Deliver the result of every row once, in any order, and return when all are delivered.

        Raises `JobError`, alone or in a group, when no row can be answered: rows without a result
        stay pending.
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
    """How many calls may be sent over time, to an endpoint or for a user.

    It never waits, and answers at once: a pool picks and reserves in one step. A limiter that
    shares its limits with other processes leases a part of them ahead, in the background, and
    answers from its lease; `when_changed` tells it whom to call when the lease has grown.
    """

    @property
    def max_call_tokens(self) -> float | None:
        """The most tokens that one call can have; None: any number, and none need be estimated."""
        ...

    def wait_s(self, tokens: int) -> float:
        """Return the seconds until a call of `tokens` may be sent, infinite for never."""
        ...

    def binding_limit(self, tokens: int) -> tuple[Limit, float]:
        """Return the limit that a call of `tokens` waits for longest, and the seconds."""
        ...

    def reserve(self, tokens: int) -> None:
        """Count a call that is sent, whether it had to wait or not."""
        ...

    def reconcile(self, reserved: int, used: int) -> None:
        """Replace the tokens that were reserved for a call by those that it used."""
        ...

    def refund(self, tokens: int) -> None:
        """Return a reservation whose call was not sent."""
        ...

    def cool_down(self, seconds: float) -> None:
        """Let no call be sent for a while: the provider asked for it."""
        ...

    def when_changed(self, then: Callable[[], None]) -> None:
        """Call `then` whenever `wait_s` may have become shorter by itself."""
        ...

    def summary(self) -> dict[str, float | None]:
        """Return the limits as they were set and as the provider reports them, as JSON."""
        ...

    def learn(self, quota: Quota) -> list[str]:
        """Keep to what the provider reports where that is less; return what differs from it."""
        ...

    async def aclose(self) -> None:
        """Give back what is leased; a second call does nothing."""
        ...


class Reservation(Protocol):
    """Dollars that are reserved for one attempt."""

    def charge(self, cost_usd: float | None) -> None:
        """Replace them by the cost of the attempt. None: unknown, up to all of them."""
        ...


class Budget(Protocol):
    """The dollars that a job may cost: reserved before each attempt, charged after it."""

    def max_call_usd(self, requests: Sequence[Request]) -> float:
        """Return the most that a call can cost. Raises `CallFailed` where nothing bounds that."""
        ...

    async def reserve(self, model: str, max_call_usd: float) -> Reservation:
        """Reserve dollars for an attempt, as soon as the budget has so many left.

        Raises `CallStopped` when it never will: the run is stopping then.
        """
        ...

    def stop(self) -> None:
        """Let no call wait any longer."""
        ...


class CacheBackend(Protocol):
    """Where replies are kept during a run. It fails by missing, never by raising."""

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Entry]:
        """Return the entries of keys, in one look-up; without those that can't be used."""
        ...

    def put(self, key: str, entry: Entry, model: str) -> None:
        """Take over an entry, to be stored soon; from now on `get_many` finds it."""
        ...

    def when_safe(self, then: Callable[[], None]) -> None:
        """Call back when all that was put until now is safe, or is known not to get there.

        At once where it is already; else from the event loop.
        """
        ...

    def summary(self) -> dict[str, int]:
        """Return what was stored, dropped, evicted and refused in this run, and the errors."""
        ...

    async def aclose(self) -> None:
        """Store what was put, and close."""
        ...


class CacheAdmin(Protocol):
    """A cache as `llmscale cache`, `estimate` and `plan` see it: read, counted, changed.

    Raises whatever its storage raises; its callers turn that into one sentence.
    """

    async def get_many(self, keys: Collection[str]) -> Mapping[str, Entry]:
        """Return the entries of those keys that have a usable one. Does not count as a use."""
        ...

    async def holds(self, keys: Collection[str]) -> set[str]:
        """Return the keys that have an entry, usable or not."""
        ...

    def entries(self) -> AsyncIterator[StoredEntry]:
        """Yield every usable entry, ordered by key."""
        ...

    async def add(self, entries: Sequence[StoredEntry]) -> int:
        """Store entries in place of those with the same keys; return their number."""
        ...

    async def contents(self) -> Contents:
        """Count what is stored."""
        ...

    async def count(self, model_pattern: str, older_than_s: float | None) -> int:
        """Count the entries that `clear` would remove."""
        ...

    async def clear(self, model_pattern: str, older_than_s: float | None) -> int:
        """Remove entries by model (shell pattern) and age; return their number."""
        ...

    async def prune(self) -> Pruned:
        """Remove expired entries, then evict down to the size limit."""
        ...

    async def aclose(self) -> None:
        """Close; a second call does nothing."""
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
