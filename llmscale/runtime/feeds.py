"""How rows come to be taken up: in the order of the input, or user by user where users have limits.

An override of a user, `[limits.users.NAME]`, stands in the place of `[limits.user]` as a whole.
"""

from collections.abc import Callable
from typing import NamedTuple

from llmscale.config import Config, EndpointConfig, UserLimit
from llmscale.core.units import per_minute
from llmscale.engine.feed import Feed
from llmscale.engine.feed.input_passes import IsDone, Read
from llmscale.engine.feed.ordered_feed import OrderedFeed
from llmscale.engine.feed.user_feed import UserFeed
from llmscale.engine.limits import BURST_SHARE, RateLimits
from llmscale.engine.limits.user_limits import UserLimits


class Terms(NamedTuple):
    """Limits a minute as they were set, of a user or an endpoint. None: there is none."""

    rpm: float | None
    tpm: float | None
    burst: int | None

    @property
    def at_once(self) -> float:
        """Requests that may go out at once."""
        return self.burst or max(1.0, (self.rpm or 0.0) * BURST_SHARE)

    @property
    def tokens_at_once(self) -> float:
        """Tokens of small calls that may go out at once."""
        share = self.burst / self.rpm if self.burst and self.rpm else BURST_SHARE
        return (self.tpm or 0.0) * share


def feed_of(config: Config, read: Read, rows: int | None) -> Feed:
    """Return what hands out the rows that `read` opens; `rows` None: it can be read only once."""
    if config.limits.user is None and not config.limits.users:
        return OrderedFeed(read(None))
    return UserFeed(read, UserLimits(limits_of_users(config)), rows)


def limits_of_users(config: Config) -> Callable[[str, bytes], RateLimits | None]:
    """Return what makes the limits of a user, None where there is no limit."""
    terms_of_user = terms_of(config)

    def limits_of(user: str, state: bytes) -> RateLimits | None:
        terms = terms_of_user(user)
        if terms.rpm is None and terms.tpm is None:
            return None
        limits = RateLimits(terms.rpm, terms.tpm, burst=terms.burst)
        if state:
            limits.resume(state)
        return limits

    return limits_of


def either(first: IsDone | None, second: IsDone | None) -> IsDone | None:
    """Return what leaves out the rows that one or the other leaves out."""
    if first is None or second is None:
        return first or second
    return lambda index: first(index) or second(index)


def terms_of(config: Config) -> Callable[[str], Terms]:
    """Return what tells the limits of each user."""
    default = terms_of_limit(config.limits.user or UserLimit())
    named = {user: terms_of_limit(limit) for user, limit in config.limits.users.items()}
    return lambda user: named.get(user, default)


def terms_of_limit(limit: UserLimit | EndpointConfig) -> Terms:
    """Read the units of limits."""
    rpm, tpm = (None if r is None else per_minute(r) for r in (limit.rpm, limit.tpm))
    return Terms(rpm, tpm, limit.burst)
