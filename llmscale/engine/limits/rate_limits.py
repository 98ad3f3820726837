"""The limits of one endpoint, or of one user: requests and tokens, a minute and a day."""

import asyncio
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import inf
from operator import itemgetter

from llmscale.core.records import Limit, Quota
from llmscale.engine.limits.day_cap import DayCap
from llmscale.engine.limits.token_bucket import TokenBucket


class RateLimits:
    """A `RateLimiter` of this process. A limit of None is no limit."""

    def __init__(
        self,
        requests_per_min: float | None,
        tokens_per_min: float | None,
        *,
        burst: int | None = None,
        requests_per_day: float | None = None,
        tokens_per_day: float | None = None,
    ) -> None:
        """`burst`: requests that may be sent at once, and the same share of the tokens."""
        self._share = None if burst is None or not requests_per_min else burst / requests_per_min
        self.requests_per_min = requests_per_min
        self.tokens_per_min = tokens_per_min
        self.reported = Quota()
        self._cooldown_ends_s = 0.0  # on the event loop's clock; 0: there was none
        self._requests = (
            TokenBucket(requests_per_min, 1.0, self._share) if requests_per_min else None
        )
        self._tokens = TokenBucket(tokens_per_min, 0.0, self._share) if tokens_per_min else None
        self._requests_a_day = DayCap(requests_per_day) if requests_per_day else None
        self._tokens_a_day = DayCap(tokens_per_day) if tokens_per_day else None

    @property
    def max_call_tokens(self) -> float | None:
        """The most tokens that one call can have; None: any number, and none need be estimated."""
        tokens, day = self._tokens, self._tokens_a_day
        if tokens is None:
            return None if day is None else day.per_day
        return tokens.max_amount if day is None else min(tokens.max_amount, day.per_day)

    def wait_s(self, tokens: int) -> float:
        """Return the seconds until a call of `tokens` may be sent, 0 for now."""
        wait_s = self._cooldown_left_s() if self._cooldown_ends_s else 0.0
        if self._requests:
            wait_s = max(wait_s, self._requests.wait_s(1))
        if self._tokens:
            wait_s = max(wait_s, self._tokens.wait_s(tokens))
        if self._requests_a_day:
            wait_s = max(wait_s, self._requests_a_day.wait_s(1))
        if self._tokens_a_day:
            wait_s = max(wait_s, self._tokens_a_day.wait_s(tokens))
        return wait_s

    def binding_limit(self, tokens: int) -> tuple[Limit, float]:
        """Return the limit that a call of `tokens` waits for longest, and the seconds."""
        return max(self._waits(tokens), key=itemgetter(1), default=("rpm", 0.0))

    def _waits(self, tokens: int) -> Iterator[tuple[Limit, float]]:
        """Yield each limit that is set, and the seconds that a call of `tokens` waits for it."""
        reported = self.reported
        if self._requests:
            is_reported = self._requests.per_minute == reported.requests_per_min
            yield "provider_rpm" if is_reported else "rpm", self._requests.wait_s(1)
        if self._tokens:
            is_reported = self._tokens.per_minute == reported.tokens_per_min
            yield "provider_tpm" if is_reported else "tpm", self._tokens.wait_s(tokens)
        if self._requests_a_day:
            yield "rpd", self._requests_a_day.wait_s(1)
        if self._tokens_a_day:
            yield "tpd", self._tokens_a_day.wait_s(tokens)

    def cool_down(self, seconds: float) -> None:
        """Let no call be sent for a while."""
        ends_s = asyncio.get_running_loop().time() + seconds
        self._cooldown_ends_s = max(self._cooldown_ends_s, ends_s)

    def reserve(self, tokens: int) -> None:
        """Count a call that is sent."""
        if self._requests:
            self._requests.take(1)
        if self._requests_a_day:
            self._requests_a_day.take(1)
        if self._tokens:
            self._tokens.take(tokens)
        if self._tokens_a_day:
            self._tokens_a_day.take(tokens)

    def reconcile(self, reserved: int, used: int) -> None:
        """Replace the tokens that were reserved for a call by those that it used."""
        if self._tokens:
            self._tokens.refund(reserved - used)
        if self._tokens_a_day:
            self._tokens_a_day.take(used - reserved)

    def refund(self, tokens: int) -> None:
        """Return a reservation whose call was not sent."""
        if self._requests:
            self._requests.refund(1)
        if self._requests_a_day:
            self._requests_a_day.take(-1)
        self.reconcile(tokens, 0)

    def full_in_s(self) -> float:
        """Return the seconds until the limits of a minute are whole again."""
        return max((bucket.full_in_s() for bucket in self._buckets()), default=0.0)

    def state(self) -> bytes:
        """Return what is reserved of a minute and has not drained yet."""
        return array("d", chain.from_iterable(b.state() for b in self._buckets())).tobytes()

    def resume(self, state: bytes) -> None:
        """Go on from the `state` of limits that were set alike."""
        numbers: Sequence[float] = array("d", state)
        for bucket in self._buckets():
            numbers = bucket.resume(numbers)

    def _cooldown_left_s(self) -> float:
        return max(0.0, self._cooldown_ends_s - asyncio.get_running_loop().time())

    def _buckets(self) -> Iterator[TokenBucket]:
        return (bucket for bucket in (self._requests, self._tokens) if bucket is not None)

    def when_changed(self, then: Callable[[], None]) -> None:
        """Do nothing: waits in this process end when they said they would."""

    async def aclose(self) -> None:
        """Do nothing: nothing is leased."""

    def summary(self) -> dict[str, float | None]:
        """Return the limits as they were set and as the provider reports them, as JSON."""
        return {
            "rpm": self.requests_per_min,
            "tpm": self.tokens_per_min,
            "provider_rpm": _finite(self.reported.requests_per_min),
            "provider_tpm": _finite(self.reported.tokens_per_min),
        }

    def learn(self, quota: Quota) -> list[str]:
        """Keep to what the provider reports where that is less; return what differs from it."""
        surprises = []
        requests, tokens = quota.requests_per_min, quota.tokens_per_min
        known = self.reported
        if requests is not None and requests != known.requests_per_min:
            surprises += _surprise("requests", self.requests_per_min, requests)
            self._requests = self._lower(self._requests, self.requests_per_min, requests, 1.0)
        if tokens is not None and tokens != known.tokens_per_min:
            surprises += _surprise("tokens", self.tokens_per_min, tokens)
            self._tokens = self._lower(self._tokens, self.tokens_per_min, tokens, 0.0)
        self.reported = Quota(
            requests_per_min=requests or known.requests_per_min,
            tokens_per_min=tokens or known.tokens_per_min,
        )
        return surprises

    def _lower(
        self, bucket: TokenBucket | None, configured: float | None, reported: float, unit: float
    ) -> TokenBucket | None:
        """Return a bucket of the lower limit: the present one, if that has it already."""
        lower = reported if configured is None else min(configured, reported)
        if lower == inf:
            return None
        if bucket is not None and bucket.per_minute == lower:
            return bucket
        return TokenBucket(lower, unit, self._share if lower == configured else None)


def _surprise(what: str, configured: float | None, reported: float) -> list[str]:
    if configured == reported or reported == inf:
        return []
    was_set = "none is set" if configured is None else f"{configured:g} are set"
    return [f"{reported:g} {what} a minute, where {was_set}"]


def _finite(limit: float | None) -> float | None:
    """Return a limit, None for one that was dropped."""
    return None if limit == inf else limit
