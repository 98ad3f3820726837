"""One address with its load: how many calls it has, may have, and until when it cools down.

Everything that is known of an endpoint meets here: limits, circuit breaker, key, pace. It never
waits.
"""

from typing import Any, NamedTuple, Protocol

from llmscale.accounting.prices import Prices
from llmscale.accounting.stats import Cause
from llmscale.core.protocols import Provider, RateLimiter
from llmscale.core.records import Failure, FailureKind, Quota
from llmscale.engine.balance.adaptive_rate import AdaptiveRate
from llmscale.engine.balance.adaptive_window import AdaptiveWindow
from llmscale.engine.balance.circuit_breaker import CircuitBreaker
from llmscale.engine.balance.key_evidence import KeyEvidence
from llmscale.engine.balance.recovery_pace import RecoveryPace

_EWMA_SHARE = 0.1
_FAILED_AS = 10.0  # times the latency of answers: failing fast is not being fast
_FIRST_GUESS_S = 1.0  # of that latency
_FEW = 2.0  # calls in flight; where these are too many, it is their rate


class CallQueue(Protocol):
    """A pool as its endpoints see it: calls that wait for a slot of one of them."""

    @property
    def first_arrival(self) -> int | None:
        """The number of the call that has waited longest; None: no call waits."""
        ...

    def serve(self) -> None:
        """Hand free slots to the calls that wait."""
        ...

    def fail_if_exhausted(self) -> None:
        """Fail the calls that wait where no endpoint is available soon enough."""
        ...


class Slots(NamedTuple):
    """How many calls an endpoint may have in flight, and what says so."""

    capacity: int
    window: AdaptiveWindow | None = None  # None: always `capacity`
    full_at: int | None = None  # calls from which on more are of no use; None: unknown
    follows_concurrency: bool = False  # the capacity is what the rows in flight are


class Endpoint:
    """One address with its load."""

    def __init__(
        self,
        name: str,
        provider: Provider,
        slots: Slots,
        prices: Prices,
        limiter: RateLimiter | None = None,
        weight: float = 1.0,
    ) -> None:
        """`limiter` None: no limit. `weight`: its share of the load beside other endpoints."""
        self.name = name
        self.provider = provider
        self.capacity = slots.capacity
        self.prices = prices
        self.limiter = limiter
        self.weight = weight
        self.window = slots.window
        self._full_at = slots.full_at
        self._full_cause: Cause = "width" if slots.follows_concurrency else "capacity"
        self.breaker = CircuitBreaker()
        self.key = KeyEvidence()
        self.address: str | None = None  # where its server is; None: in this process
        self.key_advice = ""  # what to do where it refuses the key
        self.answered_s = float("-inf")  # when it last answered, on the event loop's clock
        self.pace = RecoveryPace(slots.capacity)
        self.rate = AdaptiveRate()
        self.in_flight = 0
        self.in_flight_when_tripped = 0  # of those; they do not keep a probe waiting
        self.cooldown_until_s = 0.0  # on the event loop's clock
        self.cooldown_cause: Cause = "failing"  # or "refused"
        self._quota: Quota | None = None  # as last seen
        self.latency_s = 0.0  # exponentially weighted mean, failures counted as slow
        self._answer_s = 0.0  # the same of answers alone
        self.queues: list[CallQueue] = []  # where its calls come from
        if limiter is not None:
            limiter.when_changed(self._serve)

    def _serve(self) -> None:
        for queue in self.queues:
            queue.serve()

    @property
    def max_in_flight(self) -> float:
        """Calls that may be in flight now; a window may grow by less than one call."""
        return self.capacity if self.window is None else self.window.size

    @property
    def utilisation(self) -> float:
        """The share of its slots that is in use, for its weight."""
        return self.in_flight / (self.max_in_flight * self.weight)

    @property
    def expected_s(self) -> float:
        """How long one more call would take, by its latency and its queue; 0 where unknown."""
        return self.latency_s * (self.in_flight + 1) / self.weight

    @property
    def is_full(self) -> bool:
        """Tell whether further calls would only make the others slower."""
        return self._full_at is not None and self.in_flight >= self._full_at

    def has_slot(self) -> bool:
        """Tell whether one more call may be in flight; while the circuit is half-open, one."""
        if not self.breaker.is_closed and self.in_flight > self.in_flight_when_tripped:
            return False
        return self.in_flight < self.capacity and self.in_flight + 1 <= self.max_in_flight

    def opens_in_s(self, now_s: float, tokens: int) -> float:
        """Return the seconds until cooldown and limits allow a call of `tokens`, 0 for now."""
        wait_s = max(
            self.cooldown_until_s - now_s, self.pace.wait_s(now_s), self.rate.wait_s(now_s), 0.0
        )
        return wait_s if self.limiter is None else max(wait_s, self.limiter.wait_s(tokens))

    def wait_cause(self, now_s: float, tokens: int) -> Cause:
        """Return what a call of `tokens` waits for longest, where there is a slot."""
        cooldown_s = max(self.cooldown_until_s - now_s, self.pace.wait_s(now_s))
        adaptive_s = self.rate.wait_s(now_s)
        if self.limiter is not None:
            limit, limit_s = self.limiter.binding_limit(tokens)
            if limit_s >= max(cooldown_s, adaptive_s):
                return limit
        return self.cooldown_cause if cooldown_s >= adaptive_s else "adaptive_rpm"

    def no_slot_cause(self) -> Cause:
        """Return why no further call may be in flight: a probe, a setting, or its own load."""
        if not self.breaker.is_closed:
            return "failing"
        if self.is_full:
            return "local"
        if self.window is None or self.in_flight >= self.capacity:
            return self._full_cause
        return "saturated" if self.window.has_converged else "ramp"

    def is_free(self, now_s: float, tokens: int = 0) -> bool:
        """Tell whether a call may start now."""
        return self.has_slot() and not self.opens_in_s(now_s, tokens)

    def start(self, now_s: float, tokens: int) -> None:
        """Count a call."""
        self.in_flight += 1
        self.pace.start(now_s)
        self.rate.start(now_s)
        if self.limiter is not None:
            self.limiter.reserve(tokens)

    def answered(self, began_s: float, now_s: float, tokens: int) -> None:
        """Note an answer, which closes the circuit; after a trip the calls come back one by one."""
        if not self.breaker.is_closed:
            self.pace.begin(now_s)
        self.answered_s = now_s
        self.key.answered()
        latency_s = now_s - began_s
        self.pace.learn(latency_s)
        self.latency_s = _mean(self.latency_s, latency_s)
        self._answer_s = _mean(self._answer_s, latency_s)
        if self.window is not None:
            self.window.answered(began_s, now_s, tokens, self.in_flight)
        self.breaker.answered(began_s)

    def failed(self, failure: Failure, began_s: float, now_s: float) -> bool:
        """Note what a failed call says about the pace; return whether the pace was adapted."""
        if failure.retryable:  # else it is the request's
            slow_s = (self._answer_s or _FIRST_GUESS_S) * _FAILED_AS
            self.latency_s = _mean(self.latency_s, max(now_s - began_s, slow_s))
        if failure.kind != "rate_limited":
            return False
        if failure.retry_after_s is None:  # too many at once, or too many in a time
            if self.window is None:
                return False
            self.window.busy(began_s, now_s)
            if self.window.size > _FEW:
                return False
        return self.rate.refused(began_s, now_s)

    def count_failure(
        self, kind: FailureKind, began_s: float, now_s: float, *, has_alternatives: bool
    ) -> float | None:
        """Count a failure; return the seconds of cooldown if the circuit trips, else None."""
        cooldown_s = self.breaker.failed(kind, began_s, now_s, by_share=has_alternatives)
        if cooldown_s is not None:
            self.in_flight_when_tripped = self.in_flight
        return cooldown_s

    def learn_limits(self) -> list[str]:
        """Adopt the limits that the provider reports; return those that were set differently."""
        quota = self.provider.quota
        if quota is None or quota == self._quota or self.limiter is None:
            return []
        self._quota = quota
        return self.limiter.learn(quota)

    def summary(self) -> dict[str, Any]:
        """Return its trips, and its limits as set, as reported and as adapted, as JSON."""
        limits = {} if self.limiter is None else self.limiter.summary()
        adaptive_rpm = round(self.rate.peak_per_s * 60, 1) if self.rate.is_known else None
        return {
            "trips": self.breaker.trips,
            "limits": {**limits, "adaptive_rpm": adaptive_rpm},
        }

    def end(self) -> None:
        """Count a call that is over; of those in flight, the oldest are taken to end first."""
        self.in_flight -= 1
        self.in_flight_when_tripped = max(0, self.in_flight_when_tripped - 1)
        self.key.ended(self.in_flight)


def _mean(mean_s: float, seconds: float) -> float:
    """Return the mean with one more value; 0 stands for none."""
    return mean_s + _EWMA_SHARE * (seconds - mean_s) if mean_s else seconds
