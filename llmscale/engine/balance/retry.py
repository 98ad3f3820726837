"""One call, tried until it is answered or until retries are of no use.

Both the attempts and their time are bounded. A row whose endpoint failed or sent Retry-After goes
to an untried endpoint at once; where none is left it backs off with full jitter. Waiting for an
endpoint is outside the deadline of an attempt. Failures at an endpoint whose circuit is not closed
do not use up the attempts of a row, nor do rate limits while the endpoint answers other rows.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from llmscale.accounting.stats import Cause, Stats, Waited
from llmscale.accounting.tokens import TokenEstimates
from llmscale.core.errors import CallFailed, CallStopped, ProviderRefused
from llmscale.core.protocols import Budget, Reservation
from llmscale.core.records import Failure, Reply, Request
from llmscale.engine.balance.attempts import (
    Attempts,
    Call,
    Slot,
    cost_of_failure_usd,
    cost_of_replies_usd,
    counts_as_retry,
    stamped,
)
from llmscale.engine.balance.endpoint import Endpoint
from llmscale.engine.balance.first_calls import FirstCalls
from llmscale.engine.balance.pool import Pool

log = logging.getLogger(__name__)

MAX_RETRY_AFTER_S = 3600.0  # an endpoint may ask for more, and gets no more


class RetryPolicy(NamedTuple):
    """How long and how often a call is tried. Both are bounded, whatever a provider asks for."""

    timeout_s: float = 120.0  # one attempt
    max_attempts: int = 5
    retry_time_s: float = 600.0  # no attempt begins later than this after the first
    backoff_s: float = 0.5  # bound of the first wait; doubles up to `max_backoff_s`
    max_backoff_s: float = 60.0


class Balancer:
    """Sends each call to an endpoint of its model, and retries where that helps."""

    def __init__(
        self,
        pool_of: Callable[[str], Pool],
        policy: RetryPolicy,
        stats: Stats,
        rng: random.Random | None = None,
        budget: Budget | None = None,
        estimates: TokenEstimates | None = None,
    ) -> None:
        """`budget` None: no cap. `estimates`: shared with other readers."""
        self._pool_of = pool_of
        self._policy = policy
        self._stats = stats
        self._rng = rng or random.Random()  # noqa: S311 (jitter, no secret)
        self._budget = budget
        self._stopping = asyncio.Event()
        self.backing_off: Counter[Cause] = Counter()  # calls between two attempts
        self.waiting_for_money = 0
        self.estimates = TokenEstimates() if estimates is None else estimates
        self._first_calls = FirstCalls()

    def stop(self) -> None:
        """Retry nothing more; calls in flight may finish."""
        self._stopping.set()
        if self._budget is not None:
            self._budget.stop()

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Return the replies, each with the attempts, the endpoint, the seconds and the dollars.

        Raises `CallFailed` after the last attempt, `ProviderRefused` when no call would succeed,
        `CallStopped` after `stop`.
        """
        return await self._answered(self._call(requests))

    async def send_part(self, requests: Sequence[Request], failed: int) -> list[Reply]:
        """Return the replies to rows that can be divided, or were part of `failed` failed calls.

        A failure that may be that of one of the rows does not count against the endpoint, and is
        retried only for a single row with attempts left. Raises as `send` does.
        """
        return await self._answered(self._call(requests)._replace(failed_before=failed))

    async def _answered(self, call: Call) -> list[Reply]:
        slot = await self._slot(call, set())
        call.pool.retries.earn()
        longest_s = min(self._policy.retry_time_s, call.pool.patience_s)
        began_s = asyncio.get_running_loop().time()
        tries = Attempts(began_s, began_s + longest_s)
        while True:
            tries.count += 1
            try:
                return await self._charged(slot, call, tries.count)
            except CallFailed as error:
                failure, endpoint = error.failure, slot.endpoint
                now_s = asyncio.get_running_loop().time()
                tries.failed(endpoint, call.pool, failure, now_s)
                if failure.retry_after_s is not None:  # before the slot is handed over
                    asked_s, by = failure.retry_after_s, _cause_of(failure)
                    _cool_down_as_asked(endpoint, call.pool, asked_s, by)
                stops_job = failure.stops_job and await self._stops_job(endpoint, failure)
            finally:
                call.pool.release(slot.endpoint)
            if not call.failed_before:  # parts of one call that failed are one failure
                self._first_calls.failed(call.pool, endpoint, failure)
            if stops_job:
                raise ProviderRefused(_refusal(endpoint, failure))
            if not failure.retryable or self._is_over(call, tries, failure):
                raise CallFailed(failure, tries.count)
            slot = await self._next_slot(call, endpoint, tries, failure)

    def _is_over(self, call: Call, tries: Attempts, failure: Failure) -> bool:
        """Tell whether a call has had its attempts."""
        max_attempts = self._policy.max_attempts
        if call.failed_before is None or not call.may_be_content(failure):
            return tries.own_failures >= max_attempts
        return len(call.requests) > 1 or call.failed_before + tries.count >= max_attempts

    async def _stops_job(self, endpoint: Endpoint, failure: Failure) -> bool:
        """Tell whether a refusal is of every row; if in doubt, by the results of other rows."""
        if failure.kind != "unauthorized":
            return True
        about_key = asyncio.ensure_future(
            endpoint.key.is_about_key(failure.status, endpoint.in_flight)
        )
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((about_key, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not about_key.done():
                raise CallStopped
            return about_key.result()
        finally:
            about_key.cancel()
            stopping.cancel()

    def _call(self, requests: Sequence[Request]) -> Call:
        """Raises `CallFailed` for a call that is larger than every limit."""
        model = requests[0].model
        pool = self._pool_of(model)
        max_call_usd = 0.0 if self._budget is None else self._budget.max_call_usd(requests)
        if not pool.counts_tokens:
            estimate = self.estimates.in_use(model)
            return Call(requests, model, pool, max_call_usd, estimate=estimate)
        estimate = self.estimates[model]
        tokens = estimate.of(requests)
        if pool.is_too_large(tokens):
            raise pool.too_large(tokens)
        return Call(requests, model, pool, max_call_usd, tokens, estimate)

    async def _slot(self, call: Call, tried: set[Endpoint]) -> Slot:
        """Wait for the reservation of an attempt, then for an endpoint.

        In this order, so that a call that has a slot is sent at once: while it waited for money,
        its endpoint might begin to cool down.
        """
        if self._budget is None:
            return Slot(*await self._endpoint(call, tried))
        began_s = asyncio.get_running_loop().time()
        reservation = await self._reserved(self._budget, call)
        for_money_s = asyncio.get_running_loop().time() - began_s
        try:
            endpoint, waited = await self._endpoint(call, tried)
        except BaseException:
            reservation.charge(0.0)
            raise
        return Slot(
            endpoint, waited._replace(limited_s=waited.limited_s + for_money_s), reservation
        )

    async def _reserved(self, budget: Budget, call: Call) -> Reservation:
        self.waiting_for_money += 1
        try:
            return await budget.reserve(call.model, call.max_call_usd)
        finally:
            self.waiting_for_money -= 1

    async def _endpoint(self, call: Call, tried: set[Endpoint]) -> tuple[Endpoint, Waited]:
        loop, waits = asyncio.get_running_loop(), call.pool.wait_cause
        began_s = loop.time()
        limited_s = waits.limited_s(began_s)
        endpoint = await call.pool.acquire(tried, call.tokens)
        ended_s = loop.time()
        limited_s = waits.limited_s(ended_s) - limited_s
        return endpoint, Waited(max(0.0, ended_s - began_s - limited_s), limited_s)

    async def _next_slot(
        self, call: Call, endpoint: Endpoint, tries: Attempts, failure: Failure
    ) -> Slot:
        """Wait for the slot of the next attempt. Raises `CallFailed` if it would be too late."""
        pool, now_s = call.pool, asyncio.get_running_loop().time()
        counts = counts_as_retry(endpoint, failure)
        delay_s = pool.retries.wait_s(now_s) if counts else 0.0
        if not pool.untried(tries.tried):
            tries.tried.clear()
            delay_s = max(delay_s, pool.cooldown_left_s() + self._jitter_s(tries.backoff_step))
        if now_s + delay_s > tries.latest_s:
            raise CallFailed(failure, tries.count)
        if counts:
            pool.retries.spend()
        try:
            async with asyncio.timeout_at(tries.latest_s):
                await self._wait(delay_s, _cause_of(failure))
                return await self._slot(call, tries.tried)
        except TimeoutError:
            raise CallFailed(failure, tries.count) from None
        except CallFailed as error:
            raise CallFailed(error.failure, tries.count) from None

    async def _charged(self, slot: Slot, call: Call, attempt: int) -> list[Reply]:
        if slot.reservation is None:
            return await self._attempt(slot, call, attempt)
        cost_usd = None  # as it stays after a cancellation
        try:
            replies = await self._attempt(slot, call, attempt)
            cost_usd = cost_of_replies_usd(replies)
        except CallFailed as error:
            cost_usd = cost_of_failure_usd(error.failure)
            raise
        finally:
            slot.reservation.charge(cost_usd)
        return replies

    async def _attempt(self, slot: Slot, call: Call, attempt: int) -> list[Reply]:
        loop, endpoint = asyncio.get_running_loop(), slot.endpoint
        began_s = loop.time()
        try:
            async with asyncio.timeout(self._policy.timeout_s):
                replies = await endpoint.provider.send(call.requests)
        except TimeoutError:
            message = f"no answer from {endpoint.name} within {self._policy.timeout_s:g} s"
            failure = Failure(kind="timeout", message=message, retryable=True)
        except CallFailed as error:
            failure = error.failure
        else:
            _learn_limits(endpoint)
            ended_s = loop.time()
            latency_s = ended_s - began_s
            answered = [stamped(r, endpoint, call.model, attempt, latency_s) for r in replies]
            self._stats.calls_at(endpoint.name, call.model).add(
                latency_s, answered, None, slot.waited, attempt
            )
            endpoint.answered(began_s, ended_s, sum(r.usage.output_tokens for r in replies))
            self._first_calls.answered()
            call.reconcile(endpoint, replies)
            return answered
        _learn_limits(endpoint)
        if not call.may_be_content(failure):
            self._note_trip(endpoint, call.pool, failure, began_s)
        latency_s = loop.time() - began_s
        if failure.reply is not None:
            paid = stamped(failure.reply, endpoint, call.model, attempt, latency_s)
            failure = replace(failure, reply=paid)
        replies = [failure.reply] if failure.reply is not None else []
        self._stats.calls_at(endpoint.name, call.model).add(
            latency_s, replies, failure.kind, attempt=attempt
        )
        raise CallFailed(failure, attempt)

    def _note_trip(self, endpoint: Endpoint, pool: Pool, failure: Failure, began_s: float) -> None:
        """Open the circuit of an endpoint that keeps failing.

        Not where it is the only one and has never answered.
        """
        now_s = asyncio.get_running_loop().time()
        was_known = endpoint.rate.is_known
        if endpoint.failed(failure, began_s, now_s) and not was_known:
            rpm = endpoint.rate.per_s(now_s) * 60
            log.warning(
                "%s is rate limiting (429); throttled to about %.0f requests/min",
                endpoint.name,
                rpm,
            )
        alternatives = pool.has_alternatives
        if not (endpoint.breaker.has_answered or alternatives):
            return
        if failure.reply is not None and not (failure.retryable and alternatives):
            return  # it has answered, and a cooldown would not change the answer
        cooldown_s = endpoint.count_failure(
            failure.kind, began_s, now_s, has_alternatives=alternatives
        )
        if cooldown_s is not None:
            pool.cool_down(endpoint, cooldown_s)
            log.warning(
                "%s: circuit open after repeated failures (%s); cooling down %.0f s",
                endpoint.name,
                failure.message,
                cooldown_s,
            )

    def _jitter_s(self, failures: int) -> float:
        """Return a wait before the next attempt; none at an endpoint that is probed.

        Full jitter: Marc Brooker, "Exponential Backoff And Jitter", AWS 2015.
        """
        policy = self._policy
        bound_s = min(policy.backoff_s * 2 ** (failures - 1), policy.max_backoff_s)
        return self._rng.uniform(0, bound_s) if failures else 0.0

    async def _wait(self, delay_s: float, by: Cause) -> None:
        """Raises `CallStopped` at a stop."""
        if not delay_s:
            return
        self.backing_off[by] += 1
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return
        finally:
            self.backing_off[by] -= 1
        raise CallStopped


def _refusal(endpoint: Endpoint, failure: Failure) -> str:
    said = f"{endpoint.name} refuses the job: {failure.message}"
    advice = endpoint.key_advice if failure.kind == "unauthorized" else ""
    return f"{said}; {advice}" if advice else said


def _learn_limits(endpoint: Endpoint) -> None:
    for surprise in endpoint.learn_limits():
        log.warning("%s reports a limit of %s; using the lower", endpoint.name, surprise)


def _cause_of(failure: Failure) -> Cause:
    if failure.kind != "rate_limited":
        return "failing"
    return "too_many" if failure.retry_after_s is None else "refused"


def _cool_down_as_asked(endpoint: Endpoint, pool: Pool, seconds: float, by: Cause) -> None:
    longest_s = MAX_RETRY_AFTER_S
    now_s = asyncio.get_running_loop().time()
    if (
        seconds > longest_s and endpoint.cooldown_until_s < now_s + longest_s / 2
    ):  # once for all calls
        log.warning("%s sent Retry-After %g s; capped at %g s", endpoint.name, seconds, longest_s)
    cooldown_s = min(seconds, longest_s)
    pool.cool_down(endpoint, cooldown_s, by)
    if endpoint.limiter is not None:  # which may tell other processes
        endpoint.limiter.cool_down(cooldown_s)
