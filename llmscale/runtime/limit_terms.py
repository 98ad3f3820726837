"""The limits of users and endpoints as they were set, in numbers a minute.

`[limits.users.NAME]` takes the place of `[limits.user]` as a whole.
"""

from collections.abc import Callable
from typing import NamedTuple

from llmscale.config import EndpointConfig, LimitsConfig, UserLimit
from llmscale.core.units import per_minute
from llmscale.engine.limits import BURST_SHARE, RateLimits


class Terms(NamedTuple):
    """Limits a minute as they were set, of a user or an endpoint. None: no limit."""

    rpm: float | None
    tpm: float | None
    burst: int | None

    @property
    def at_once(self) -> float:
        """Requests that may be sent at once."""
        return self.burst or max(1.0, (self.rpm or 0.0) * BURST_SHARE)

    @property
    def tokens_at_once(self) -> float:
        """Tokens of small calls that may be sent at once."""
        share = self.burst / self.rpm if self.burst and self.rpm else BURST_SHARE
        return (self.tpm or 0.0) * share


def limits_of_users(limits: LimitsConfig) -> Callable[[str, bytes], RateLimits | None]:
    """Return a function that creates the limiter of a user, None where there is no limit."""
    terms_of_user = terms_of(limits)

    def limits_of(user: str, state: bytes) -> RateLimits | None:
        terms = terms_of_user(user)
        if terms.rpm is None and terms.tpm is None:
            return None
        limiter = RateLimits(terms.rpm, terms.tpm, burst=terms.burst)
        if state:
            limiter.resume(state)
        return limiter

    return limits_of


def terms_of(limits: LimitsConfig) -> Callable[[str], Terms]:
    """Return a function that returns the limits of a user."""
    default = terms_of_limit(limits.user or UserLimit())
    named = {user: terms_of_limit(limit) for user, limit in limits.users.items()}
    return lambda user: named.get(user, default)


def terms_of_limit(limit: UserLimit | EndpointConfig) -> Terms:
    """Convert limits to numbers a minute."""
    rpm, tpm = (None if r is None else per_minute(r) for r in (limit.rpm, limit.tpm))
    return Terms(rpm, tpm, limit.burst)
