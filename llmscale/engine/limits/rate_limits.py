"""The limits of one endpoint, or of one user, together: asked, told, and taught by the provider."""

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter

from llmscale.core.records import Limit, Quota
from llmscale.engine.limits.day_cap import DayCap
from llmscale.engine.limits.token_bucket import TokenBucket


class RateLimits:
    """The limits of one endpoint, or of one user; None: there is none."""

    def __init__(
        self,
        requests_per_min: float | None,
        tokens_per_min: float | None,
        *,
        burst: int | None = None,
        requests_per_day: float | None = None,
        tokens_per_day: float | None = None,
    ) -> None:
        """`burst`: requests that may go out at once, and the same share of the tokens."""
        self._share = None if burst is None or not requests_per_min else burst / requests_per_min
        self.requests_per_min = requests_per_min
        self.tokens_per_min = tokens_per_min
        self.reported = Quota()
        self._requests = (
            TokenBucket(requests_per_min, 1.0, self._share) if requests_per_min else None
        )
        self._tokens = TokenBucket(tokens_per_min, 0.0, self._share) if tokens_per_min else None
        self._requests_a_day = DayCap(requests_per_day) if requests_per_day else None
        self._tokens_a_day = DayCap(tokens_per_day) if tokens_per_day else None

    @property
    def max_call_tokens(self) -> float | None:
        """The most that one call can ever have; None: any number, and none need be estimated."""
        tokens, day = self._tokens, self._tokens_a_day
        if tokens is None:
            return None if day is None else day.per_day
        return tokens.max_rate if day is None else min(tokens.max_rate, day.per_day)

    def wait_s(self, tokens: int) -> float:
        """Return the seconds until a call of `tokens` may go out, 0 when it may now."""
        wait_s = self._requests.wait_s(1) if self._requests else 0.0
        if self._tokens:
            wait_s = max(wait_s, self._tokens.wait_s(tokens))
        if self._requests_a_day:
            wait_s = max(wait_s, self._requests_a_day.wait_s(1))
        if self._tokens_a_day:
            wait_s = max(wait_s, self._tokens_a_day.wait_s(tokens))
        return wait_s

    def held_by(self, tokens: int) -> tuple[Limit, float]:
        """Return which limit a call of `tokens` waits for longest, and for how many seconds."""
        return max(self._waits(tokens), key=itemgetter(1), default=("rpm", 0.0))

    def _waits(self, tokens: int) -> Iterator[tuple[Limit, float]]:
        """Yield each limit that there is, and the seconds for which it holds a call of `tokens`."""
        told = self.reported
        if self._requests:
            is_told = self._requests.per_minute == told.requests_per_min
            yield "provider_rpm" if is_told else "rpm", self._requests.wait_s(1)
        if self._tokens:
            is_told = self._tokens.per_minute == told.tokens_per_min
            yield "provider_tpm" if is_told else "tpm", self._tokens.wait_s(tokens)
        if self._requests_a_day:
            yield "rpd", self._requests_a_day.wait_s(1)
        if self._tokens_a_day:
            yield "tpd", self._tokens_a_day.wait_s(tokens)

    def take(self, tokens: int) -> None:
        """Count a call that goes out."""
        if self._requests:
            self._requests.take(1)
        if self._requests_a_day:
            self._requests_a_day.take(1)
        if self._tokens:
            self._tokens.take(tokens)
        if self._tokens_a_day:
            self._tokens_a_day.take(tokens)

    def correct(self, taken: int, used: int) -> None:
        """Replace the estimate that was taken by the tokens that were used."""
        if self._tokens:
            self._tokens.give_back(taken - used)
        if self._tokens_a_day:
            self._tokens_a_day.take(used - taken)

    def give_back(self, tokens: int) -> None:
        """Return a call that did not go out after all."""
        if self._requests:
            self._requests.give_back(1)
        if self._requests_a_day:
            self._requests_a_day.take(-1)
        self.correct(tokens, 0)

    def full_in_s(self) -> float:
        """Return the seconds until nothing of a minute is left that was taken."""
        return max((bucket.full_in_s() for bucket in self._buckets()), default=0.0)

    def state(self) -> bytes:
        """Return what was taken of a minute and has not drained yet."""
        return array("d", chain.from_iterable(b.state() for b in self._buckets())).tobytes()

    def resume(self, state: bytes) -> None:
        """Go on from the `state` of limits that were set alike."""
        numbers: Sequence[float] = array("d", state)
        for bucket in self._buckets():
            numbers = bucket.resume(numbers)

    def _buckets(self) -> Iterator[TokenBucket]:
        return (bucket for bucket in (self._requests, self._tokens) if bucket is not None)

    def summary(self) -> dict[str, float | None]:
        """Return the limits as they were set and as the provider says they are, as JSON."""
        return {
            "rpm": self.requests_per_min,
            "tpm": self.tokens_per_min,
            "provider_rpm": self.reported.requests_per_min,
            "provider_tpm": self.reported.tokens_per_min,
        }

    def learn(self, quota: Quota) -> list[str]:
        """Keep to what the provider says where that is less; return where it is not as was set."""
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
    ) -> TokenBucket:
        """Return a bucket of the lower of both limits: the one that there is, where that holds."""
        lower = reported if configured is None else min(configured, reported)
        if bucket is not None and bucket.per_minute == lower:
            return bucket
        return TokenBucket(lower, unit, self._share if lower == configured else None)


def _surprise(what: str, configured: float | None, reported: float) -> list[str]:
    if configured == reported:
        return []
    was_set = "none is set" if configured is None else f"{configured:g} are set"
    return [f"{reported:g} {what} a minute, where {was_set}"]
