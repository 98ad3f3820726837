"""One call, tried until it is answered or until trying is of no use.

Both the attempts and their time are bounded. A row whose endpoint failed or asks to be left alone
goes to an untried one at once; where none is left it backs off with full jitter. Waiting for an
endpoint is outside the deadline of an attempt.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from llmscale.balance.pool import Endpoint, Pool
from llmscale.errors import CallFailed, CallStopped, ProviderRefused
from llmscale.records import Failure, Reply, Request
from llmscale.stats import Stats
from llmscale.tokens import TokenEstimate

log = logging.getLogger(__name__)


class RetryPolicy(NamedTuple):
    """How long and how often a call is tried. Both are bounded, whatever a provider asks for."""

    timeout_s: float = 120.0  # one attempt
    max_attempts: int = 5
    retry_time_s: float = 600.0  # no attempt begins later than this after the first
    backoff_s: float = 0.5  # bound of the first wait; doubles up to `max_backoff_s`
    max_backoff_s: float = 60.0


class _Call(NamedTuple):
    """What is to be sent, and what it is thought to take."""

    requests: Sequence[Request]
    model: str
    pool: Pool
    tokens: int  # 0 where no endpoint counts them
    estimate: TokenEstimate | None

    def settle(self, endpoint: Endpoint, replies: Sequence[Reply]) -> None:
        """Correct what was taken by what was used."""
        if self.estimate is None or endpoint.allowance is None:
            return
        self.estimate.learn(self.requests, replies)
        used = sum(r.usage.input_tokens + r.usage.output_tokens for r in replies)
        endpoint.allowance.correct(self.tokens, used or self.tokens)


class Balanced:
    """Sends each call to the least loaded endpoint of its model, and again where that helps."""

    def __init__(
        self,
        pool_of: Callable[[str], Pool],
        policy: RetryPolicy,
        stats: Stats,
        dice: random.Random | None = None,
    ) -> None:
        self._pool_of = pool_of
        self._policy = policy
        self._stats = stats
        self._dice = dice or random.Random()  # noqa: S311 (jitter, no secret)
        self._stopping = asyncio.Event()
        self._estimates: dict[str, TokenEstimate] = {}

    def stop(self) -> None:
        """Try nothing again; calls in flight may finish."""
        self._stopping.set()

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Return the replies, each with the attempts, the endpoint, the seconds and the dollars.

        Raises `CallFailed` after the last attempt, `ProviderRefused` when no call would fare
        better, `CallStopped` after `stop`.
        """
        call = self._call(requests)
        tried: set[Endpoint] = set()
        endpoint = await call.pool.acquire(tried, call.tokens)
        latest_s = asyncio.get_running_loop().time() + self._policy.retry_time_s
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(endpoint, call, attempt)
            except CallFailed as error:
                failure = error.failure
                if failure.retry_after_s is not None:  # before the place goes to who waits for it
                    call.pool.rest(endpoint, failure.retry_after_s)
            finally:
                call.pool.release(endpoint)
            if failure.stops_job:
                raise ProviderRefused(f"{endpoint.name} refuses the job: {failure.message}")
            if not failure.retryable or attempt >= self._policy.max_attempts:
                raise CallFailed(failure, attempt)
            tried.add(endpoint)
            endpoint = await self._next_endpoint(call, tried, failure, attempt, latest_s)

    def _call(self, requests: Sequence[Request]) -> _Call:
        """Raises `CallFailed` when the call is larger than any limit will ever let out."""
        model = requests[0].model
        pool = self._pool_of(model)
        if not pool.counts_tokens:
            return _Call(requests, model, pool, 0, None)
        estimate = self._estimates.setdefault(model, TokenEstimate())
        tokens = estimate.of(requests)
        most = pool.most_tokens
        if most is not None and tokens > most:
            message = f"needs about {tokens} tokens, and the limit is {most:.0f} a minute"
            raise CallFailed(Failure(kind="invalid_request", message=message), 0)
        return _Call(requests, model, pool, tokens, estimate)

    async def _next_endpoint(
        self, call: _Call, tried: set[Endpoint], failure: Failure, attempt: int, latest_s: float
    ) -> Endpoint:
        """Wait for the next attempt's endpoint. Raises `CallFailed` when it would come too late."""
        try:
            async with asyncio.timeout_at(latest_s):
                if not call.pool.untried(tried):
                    tried.clear()
                    await self._back_off(call.pool, failure, attempt, latest_s)
                return await call.pool.acquire(tried, call.tokens)
        except TimeoutError:
            raise CallFailed(failure, attempt) from None

    async def _attempt(self, endpoint: Endpoint, call: _Call, attempt: int) -> list[Reply]:
        loop = asyncio.get_running_loop()
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
            ended_s = loop.time()
            latency_s = ended_s - began_s
            stamped = [_stamped(r, endpoint, call.model, attempt, latency_s) for r in replies]
            self._stats.add_attempt(endpoint.name, call.model, latency_s, stamped)
            endpoint.answered(began_s, ended_s)
            call.settle(endpoint, replies)
            return stamped
        self._note_illness(endpoint, call.pool, failure, began_s)
        latency_s = loop.time() - began_s
        if failure.reply is not None:
            paid = _stamped(failure.reply, endpoint, call.model, attempt, latency_s)
            failure = replace(failure, reply=paid)
        replies = [failure.reply] if failure.reply is not None else []
        self._stats.add_attempt(endpoint.name, call.model, latency_s, replies, failure.kind)
        raise CallFailed(failure, attempt)

    def _note_illness(
        self, endpoint: Endpoint, pool: Pool, failure: Failure, began_s: float
    ) -> None:
        """Rest an endpoint that keeps failing, unless it is the only one and has never answered."""
        if not (endpoint.health.has_answered or pool.has_alternatives):
            return
        now_s = asyncio.get_running_loop().time()
        rest_s = endpoint.failed(failure.kind, began_s, now_s)
        if rest_s is not None:
            pool.rest(endpoint, rest_s)
            log.warning(
                "%s keeps failing (%s); it rests %.0f s", endpoint.name, failure.message, rest_s
            )

    async def _back_off(self, pool: Pool, failure: Failure, attempt: int, latest_s: float) -> None:
        """Wait before the next attempt. Raises `CallFailed` when it would come too late.

        Full jitter: Marc Brooker, "Exponential Backoff And Jitter", AWS 2015.
        """
        policy = self._policy
        bound_s = min(policy.backoff_s * 2 ** (attempt - 1), policy.max_backoff_s)
        delay_s = pool.rest_left_s() + self._dice.uniform(0, bound_s)
        now_s = asyncio.get_running_loop().time()
        if now_s + delay_s > latest_s:
            raise CallFailed(failure, attempt)
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise CallStopped


def _stamped(reply: Reply, endpoint: Endpoint, model: str, attempt: int, latency_s: float) -> Reply:
    return replace(
        reply,
        endpoint=endpoint.name,
        attempts=attempt,
        latency_s=latency_s,
        cost_usd=endpoint.prices.cost_usd(model, reply.usage),
    )
