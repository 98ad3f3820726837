"""The requests and tokens a minute of each user, kept only for as long as they matter.

A row takes one request and its estimated tokens when it is taken up, however often it is tried. The
tokens are corrected by what the provider reports. A row that reached no provider gives back all of
it: an answer from the cache or from another row's call, a failure without an attempt. A user that
has all of it back, or whose limits are whole again, is forgotten, and one without rows is kept as a
few bytes until then: a million users need no more memory than those of the last minute or two. Rows
without a user have no limit here. Never waits.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from llmscale.accounting.tokens import TokenEstimates
from llmscale.core.protocols import RateLimiter
from llmscale.core.records import Failure, Outcome, Request, Row

_LOOKS = 2  # idle users looked at for each row that ends; more than can become idle


class UserRateLimiter(RateLimiter, Protocol):
    """The limits of one user."""

    def full_in_s(self) -> float:
        """Return the seconds until nothing is left of what was taken."""
        ...

    def state(self) -> bytes:
        """Return what is left of it until then."""
        ...


class _User:
    """A user with rows in flight, or with one that was asked about."""

    __slots__ = ("has_spent", "in_flight", "limiter")

    def __init__(self, limiter: UserRateLimiter, *, has_spent: bool) -> None:
        self.limiter = limiter
        self.in_flight = 0  # rows
        self.has_spent = has_spent  # something that was not given back


class _Idle(NamedTuple):
    """What is left of a user without rows."""

    full_at_s: float
    state: bytes


class UserLimits:
    """The limits of all users. For use in the event loop only."""

    def __init__(
        self,
        limiter_of: Callable[[str, bytes], UserRateLimiter | None],
        estimates: TokenEstimates | None = None,
    ) -> None:
        """`limiter_of` makes the allowance of a user, full or as an earlier `state` has it; None:
        that user has no limit. `estimates`: those that calls teach.
        """
        self._limiter_of = limiter_of
        self._users: dict[str, _User] = {}
        self._idle: OrderedDict[str, _Idle] = OrderedDict()
        self._taken: dict[int, int] = {}  # tokens, by the index of the row
        self._estimates = TokenEstimates() if estimates is None else estimates

    def __len__(self) -> int:
        """Return how many users are known at the moment."""
        return len(self._users) + len(self._idle)

    def wait_s(self, row: Row) -> float:
        """Return the seconds until a row may be taken up, 0 for now, and where it never may."""
        if row.user is None or row.request is None:
            return 0.0
        user = self._known(row.user)
        if user is None:
            return 0.0
        tokens = self._tokens(user.limiter, row.request)
        return 0.0 if _is_too_large(tokens, user.limiter) else user.limiter.wait_s(tokens)

    def take(self, row: Row) -> Row:
        """Count a row that is taken up. Return it, with a failure where it is above any minute."""
        if row.user is None or row.request is None:
            return row
        user = self._known(row.user) or self._meet(row.user)
        if user is None:
            return row
        tokens = self._tokens(user.limiter, row.request)
        if _is_too_large(tokens, user.limiter):
            self._put_away(row.user, user)
            return replace(row, failure=_too_large(tokens, user.limiter))
        user.limiter.reserve(tokens)
        user.in_flight += 1
        self._taken[row.index] = tokens
        return row

    def reconcile(self, outcome: Outcome) -> None:
        """Replace the tokens that were reserved for a row by those that it used."""
        row = outcome.row
        tokens = self._taken.pop(row.index, None)
        if tokens is None or row.user is None or row.request is None:
            return
        user = self._users[row.user]
        user.in_flight -= 1
        if _reached_provider(outcome):
            user.has_spent = True
            user.limiter.reconcile(tokens, _reported(outcome) or tokens)
        else:
            user.limiter.refund(tokens)
        self._put_away(row.user, user)
        self._forget_full()

    def _tokens(self, limiter: UserRateLimiter, request: Request) -> int:
        if limiter.max_call_tokens is None:
            return 0
        return self._estimates[request.model].of((request,))

    def _known(self, name: str) -> _User | None:
        user = self._users.get(name)
        if user is not None:
            return user
        idle = self._idle.pop(name, None)
        return None if idle is None else self._meet(name, idle.state)

    def _meet(self, name: str, state: bytes = b"") -> _User | None:
        limiter = self._limiter_of(name, state)
        if limiter is None:
            return None
        user = self._users[name] = _User(limiter, has_spent=bool(state))
        return user

    def _put_away(self, name: str, user: _User) -> None:
        """Put a user away who has no row in flight."""
        if user.in_flight:
            return
        del self._users[name]
        full_in_s = user.limiter.full_in_s() if user.has_spent else 0.0
        if full_in_s:
            full_at_s = asyncio.get_running_loop().time() + full_in_s
            self._idle[name] = _Idle(full_at_s, user.limiter.state())

    def _forget_full(self) -> None:
        """Look at some of those who are idle, in turn."""
        now_s = asyncio.get_running_loop().time()
        for _ in range(min(_LOOKS, len(self._idle))):
            name, idle = self._idle.popitem(last=False)
            if idle.full_at_s > now_s:
                self._idle[name] = idle


def _reached_provider(outcome: Outcome) -> bool:
    if outcome.reply is not None:
        return not (outcome.reply.cached or outcome.reply.deduped)
    return outcome.attempts > 0


def _reported(outcome: Outcome) -> int:
    """Return the tokens that were reported, 0 for none."""
    reply = outcome.reply or (outcome.failure.reply if outcome.failure else None)
    return 0 if reply is None else reply.usage.total_tokens


def _is_too_large(tokens: int, limiter: UserRateLimiter) -> bool:
    bound = limiter.max_call_tokens
    return bound is not None and tokens > bound


def _too_large(tokens: int, limiter: UserRateLimiter) -> Failure:
    max_tokens = limiter.max_call_tokens
    message = f"needs about {tokens} tokens, and its user's limit is {max_tokens:.0f} a minute"
    return Failure(kind="invalid_request", message=message)
