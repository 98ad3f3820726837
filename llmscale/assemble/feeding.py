"""How rows come to the workers: in the order of the input, or user by user where users have limits.

An override of a user, `[limits.users.NAME]`, stands in the place of `[limits.user]` as a whole.
"""

from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

from llmscale.config import Config, EndpointConfig, UserLimit
from llmscale.feed import Feed
from llmscale.feed.by_user import ByUser
from llmscale.feed.in_order import InOrder
from llmscale.feed.passes import IsDone, Read
from llmscale.limits import BURST_SHARE, Bucket, Limits
from llmscale.units import per_minute
from llmscale.users import UserLimits


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


class UserBudget(Limits):
    """The limits of one user, which can be kept in a few bytes while the user is idle."""

    def __init__(self, terms: Terms, state: bytes = b"") -> None:
        super().__init__(terms.rpm, terms.tpm, burst=terms.burst)
        self._at_once = terms.at_once
        if state:
            self._resume(array("d", state))

    def full_in_s(self) -> float:
        """Return the seconds until all that may ever go out at once may go out."""
        requests, tokens = self._requests, self._tokens
        requests_s = requests.wait_s(self._at_once) if requests else 0.0
        return max(requests_s, tokens.wait_s(tokens.max_rate) if tokens else 0.0)

    def state(self) -> bytes:
        """Return what was taken and has not drained yet."""
        numbers = array("d")
        for bucket in self._buckets():
            numbers.extend((bucket._level, bucket._last_check, len(bucket._large)))
            for until_s, drained in bucket._large:
                numbers.extend((until_s, drained))
        return numbers.tobytes()

    def _resume(self, numbers: "array[float]") -> None:
        for bucket in self._buckets():
            bucket._level, bucket._last_check, large = numbers[:3]
            end = 3 + 2 * int(large)
            bucket._large.extend(zip(numbers[3:end:2], numbers[4:end:2], strict=True))
            bucket._set_rate()
            numbers = numbers[end:]

    def _buckets(self) -> Iterator[Bucket]:
        return (bucket for bucket in (self._requests, self._tokens) if bucket is not None)


def feed_of(config: Config, read: Read, rows: int | None) -> Feed:
    """Return what hands out the rows that `read` opens; `rows` None: it can be read only once."""
    if config.limits_user is None and not config.limits_users:
        return InOrder(read(None))
    return ByUser(read, UserLimits(budgets(config)), rows)


def budgets(config: Config) -> Callable[[str, bytes], UserBudget | None]:
    """Return what makes the budget of a user, None where there is no limit."""
    terms_of_user = terms_of(config)

    def budget_of(user: str, state: bytes) -> UserBudget | None:
        terms = terms_of_user(user)
        return None if terms.rpm is None and terms.tpm is None else UserBudget(terms, state)

    return budget_of


def either(first: IsDone | None, second: IsDone | None) -> IsDone | None:
    """Return what leaves out the rows that one or the other leaves out."""
    if first is None or second is None:
        return first or second
    return lambda index: first(index) or second(index)


def terms_of(config: Config) -> Callable[[str], Terms]:
    """Return what tells the limits of each user."""
    default = terms_of_limit(config.limits_user or UserLimit())
    named = {user: terms_of_limit(limit) for user, limit in config.limits_users.items()}
    return lambda user: named.get(user, default)


def terms_of_limit(limit: UserLimit | EndpointConfig) -> Terms:
    """Read the units of limits."""
    rpm, tpm = (None if r is None else per_minute(r) for r in (limit.rpm, limit.tpm))
    return Terms(rpm, tpm, limit.burst)
