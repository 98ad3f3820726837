"""One call and its attempts: bounded in number and time, counted, and never in somebody's way.

The providers are scripted, the time is virtual.
"""

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from llmscale.accounting.prices import Prices
from llmscale.accounting.stats import Calls, Stats
from llmscale.accounting.tokens import TokenEstimates
from llmscale.core.errors import CallFailed, CallStopped, ProviderRefused
from llmscale.core.protocols import RateLimiter
from llmscale.core.records import Failure, FailureKind, Quota, Reply, Request, Usage
from llmscale.engine.balance.adaptive_window import AdaptiveWindow
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.retry import Balancer, RetryPolicy
from llmscale.engine.balance.strategies import strategy
from llmscale.engine.limits import RateLimits
from tests.engine.limits.unlimited import Unlimited
from tests.virtual_time import now_s

pytestmark = pytest.mark.looptime

REQUEST = Request(model="sim/m", messages=[{"role": "user", "content": "hello"}])
REPLY = Reply(text="hi", finish_reason="stop", model="m-1", usage=Usage(10, 2))
QUICK = RetryPolicy(timeout_s=10, max_attempts=5, retry_time_s=600, backoff_s=1, max_backoff_s=8)


def failed(kind: FailureKind = "server_error", **fields: Any) -> Failure:
    return Failure(kind=kind, message="as scripted", **({"retryable": True} | fields))


class Scripted:
    """Answers its calls in order by what is written: a failure, or seconds before a reply."""

    refuses_after_s = 0.0
    quota: Quota | None = None

    def __init__(self, *script: Failure | float, then: Failure | float = 0.0) -> None:
        self.called_at_s: list[float] = []
        self._script = list(script)
        self._then = then

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self.called_at_s.append(now_s())
        step = self._script.pop(0) if self._script else self._then
        if isinstance(step, Failure):
            await asyncio.sleep(self.refuses_after_s)
            raise CallFailed(step)
        await asyncio.sleep(step)
        return [REPLY for _ in requests]

    async def aclose(self) -> None:
        """Hold nothing."""


def pool_of(endpoints: Sequence[Endpoint], patience_s: float = float("inf")) -> Pool:
    least_loaded = strategy("least-loaded", "sim/m", random.Random(0))
    return Pool(endpoints, least_loaded, patience_s=patience_s)


class Highest(random.Random):
    """Dice that always show the most."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Bench:
    """Endpoints `a`, `b`, ... in one pool, under `Balancer`."""

    def __init__(
        self,
        *providers: Scripted,
        policy: RetryPolicy = QUICK,
        capacity: int = 1,
        rng: random.Random | None = None,
        limiter: RateLimiter | None = None,
    ) -> None:
        free = Prices(is_listed=False, is_free=True)
        named = zip("abc", providers, strict=False)
        self.endpoints = [
            Endpoint(name, one, Slots(capacity), free, limiter) for name, one in named
        ]
        self.pool = pool_of(self.endpoints)
        self.stats = Stats()
        self.balanced = Balancer(lambda _: self.pool, policy, self.stats, rng or Highest())

    async def send(self) -> Reply:
        replies = await self.balanced.send((REQUEST,))
        assert len(replies) == 1
        return replies[0]

    async def failure(self) -> CallFailed:
        with pytest.raises(CallFailed) as raised:
            await self.send()
        return raised.value

    def sending(self) -> "asyncio.Task[Reply]":
        return asyncio.create_task(self.send())

    @property
    def calls(self) -> Calls:
        return self.stats.calls()

    @property
    def in_flight(self) -> list[int]:
        return [endpoint.in_flight for endpoint in self.endpoints]


async def test_an_answer_is_stamped_with_who_gave_it_when_and_for_how_much() -> None:
    bench = Bench(Scripted(2.5))
    reply = await bench.send()
    assert (reply.text, reply.endpoint, reply.attempts) == ("hi", "a", 1)
    assert reply.latency_s == pytest.approx(2.5)
    assert reply.cost_usd == 0.0
    assert bench.in_flight == [0]


async def test_the_price_is_that_of_the_model_that_was_asked_for() -> None:
    provider = Scripted()
    pool = pool_of([Endpoint("a", provider, Slots(1), Prices(is_listed=True))])
    balanced = Balancer(lambda _: pool, QUICK, Stats())
    for model, cost_usd in (("openai/gpt-4o", 10 * 2.5e-6 + 2 * 1e-5), ("openai/none", None)):
        replies = await balanced.send((Request(model=model, messages=[]),))
        assert replies[0].cost_usd == (cost_usd and pytest.approx(cost_usd))


async def test_a_failure_worth_a_retry_is_retried_until_it_is_answered() -> None:
    bench = Bench(Scripted(failed(), failed("overloaded"), 1.0))
    reply = await bench.send()
    assert reply.attempts == 3
    assert reply.latency_s == pytest.approx(1.0), "of the attempt that answered"
    assert (bench.calls.attempts, bench.calls.failures.total()) == (3, 2)
    assert bench.calls.retries == 2


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
async def test_attempts_are_bounded(max_attempts: int) -> None:
    provider = Scripted(then=failed())
    bench = Bench(provider, policy=QUICK._replace(max_attempts=max_attempts))
    error = await bench.failure()
    assert error.attempts == len(provider.called_at_s) == max_attempts
    assert error.failure.kind == "server_error"
    assert bench.in_flight == [0]


@pytest.mark.parametrize("endpoints", [1, 3])
async def test_a_failure_that_is_not_worth_a_retry_is_one_attempt(endpoints: int) -> None:
    providers = [Scripted(then=failed("invalid_request", retryable=False))] * endpoints
    error = await Bench(*providers).failure()
    assert (error.attempts, error.failure.kind) == (1, "invalid_request")
    assert len(providers[0].called_at_s) == 1
    assert now_s() == 0


async def test_the_time_of_all_attempts_is_bounded() -> None:
    provider = Scripted(then=failed())
    policy = RetryPolicy(10, max_attempts=1_000, retry_time_s=60, backoff_s=1, max_backoff_s=8)
    error = await Bench(provider, policy=policy).failure()
    assert provider.called_at_s[-1] <= 60
    assert now_s() <= 60
    assert error.attempts == len(provider.called_at_s) == 10  # at 0 1 3 7 15 23 31 39 47 55


async def test_no_attempt_begins_too_late_however_long_the_queue_is() -> None:
    """The place that the second attempt waits for is taken for longer than it may wait."""
    provider = Scripted(failed(), 100.0)
    bench = Bench(provider, policy=QUICK._replace(timeout_s=200, retry_time_s=30))
    first = bench.sending()
    await asyncio.sleep(0.5)
    second = bench.sending()
    with pytest.raises(CallFailed) as raised:
        await first
    assert now_s() == pytest.approx(30)
    assert (raised.value.attempts, raised.value.failure.kind) == (1, "server_error")
    assert (await second).text == "hi"
    assert bench.in_flight == [0]


async def test_waits_double_up_to_their_bound() -> None:
    provider = Scripted(then=failed())
    await Bench(provider, policy=QUICK._replace(max_attempts=7)).failure()
    waits = [b - a for a, b in zip(provider.called_at_s, provider.called_at_s[1:], strict=False)]
    assert waits == pytest.approx([1, 2, 4, 8, 8, 8])


async def test_waits_are_spread_over_their_whole_range() -> None:
    """Full jitter: anything from nothing to the bound, so that no herd forms."""
    first_waits = []
    for seed in range(200):
        provider = Scripted(failed())
        began_s = now_s()
        await Bench(provider, rng=random.Random(seed)).send()
        first_waits.append(provider.called_at_s[1] - began_s)
    assert 0 <= min(first_waits) < 0.05
    assert 0.95 < max(first_waits) <= 1
    assert sum(first_waits) / 200 == pytest.approx(0.5, abs=0.1)


async def test_an_untried_endpoint_is_asked_at_once() -> None:
    first, second = Scripted(then=failed()), Scripted(then=failed())
    error = await Bench(first, second, policy=QUICK._replace(max_attempts=2)).failure()
    assert error.attempts == 2
    assert first.called_at_s == second.called_at_s == [0]


async def test_when_all_are_tried_it_backs_off_and_begins_anew() -> None:
    first, second = Scripted(then=failed()), Scripted(then=failed())
    await Bench(first, second, policy=QUICK._replace(max_attempts=4)).failure()
    assert sorted(first.called_at_s + second.called_at_s) == pytest.approx([0, 0, 2, 2])
    assert first.called_at_s == second.called_at_s


async def test_retry_after_rests_the_endpoint_and_another_is_asked_at_once() -> None:
    resting = failed("rate_limited", retry_after_s=30)
    first, second = Scripted(then=resting), Scripted()
    bench = Bench(first, second, capacity=10)
    for _ in range(10):
        assert (await bench.send()).endpoint == "b"
    assert len(first.called_at_s) <= 1
    assert now_s() == 0


async def test_retry_after_holds_for_the_row_that_got_it() -> None:
    provider = Scripted(failed("rate_limited", retry_after_s=30))
    assert (await Bench(provider).send()).attempts == 2
    assert provider.called_at_s == pytest.approx([0, 31])  # and the jitter


async def test_retry_after_holds_for_every_other_row_waiting_or_not() -> None:
    """P03: the place that the refused call gives back must not go to who waits for it."""
    provider = Scripted(failed("rate_limited", retry_after_s=30))
    bench = Bench(provider)
    waiting = [bench.sending() for _ in range(4)]
    await asyncio.sleep(5)
    waiting.append(bench.sending())
    await asyncio.gather(*waiting)
    assert [at for at in provider.called_at_s if 0 < at < 30] == []
    assert len(provider.called_at_s) == 6


async def test_retry_after_to_all_calls_in_flight_lets_none_begin_early() -> None:
    refused = failed("rate_limited", retry_after_s=20)
    provider = Scripted(*[refused] * 64)
    provider.refuses_after_s = 1
    bench = Bench(provider, capacity=64, rng=random.Random(1))
    await asyncio.gather(*(bench.sending() for _ in range(200)))
    assert provider.called_at_s[:64] == [0] * 64
    assert len(provider.called_at_s) == 264
    assert provider.called_at_s[64] >= 21


async def test_retry_after_longer_than_the_retry_time_gives_up_at_once() -> None:
    provider = Scripted(failed("rate_limited", retry_after_s=601))
    error = await Bench(provider).failure()
    assert (error.attempts, error.failure.kind, now_s()) == (1, "rate_limited", 0)


async def test_retry_after_longer_than_the_retry_time_leaves_a_healthy_endpoint_to_others() -> None:
    first, second = Scripted(failed("rate_limited", retry_after_s=3_600)), Scripted()
    bench = Bench(first, second)
    assert (await bench.send()).endpoint == "b"
    assert (await bench.send()).endpoint == "b"


async def test_retry_after_of_the_last_attempt_rests_the_endpoint_too() -> None:
    provider = Scripted(failed("rate_limited", retry_after_s=30))
    bench = Bench(provider, policy=QUICK._replace(max_attempts=1))
    await bench.failure()
    assert now_s() == 0
    await bench.send()
    assert provider.called_at_s == pytest.approx([0, 30])


async def test_what_stops_the_job_is_raised_with_the_name_of_the_endpoint() -> None:
    stops = failed("unauthorized", retryable=False, stops_job=True, status=401)
    provider = Scripted(then=stops)
    bench = Bench(provider, Scripted(then=stops))
    with pytest.raises(ProviderRefused, match=r"[ab] refuses the job: as scripted"):
        await bench.send()
    assert bench.calls.attempts == 1
    assert bench.in_flight == [0, 0]
    assert bench.calls.failures == {"unauthorized": 1}


async def test_no_answer_within_the_timeout_is_a_failure_worth_a_retry() -> None:
    bench = Bench(Scripted(11.0, 9.0))
    reply = await bench.send()
    assert reply.attempts == 2
    assert bench.calls.failures == {"timeout": 1}
    late = Bench(Scripted(then=11.0), policy=QUICK._replace(max_attempts=1))
    failure = (await late.failure()).failure
    assert (failure.kind, failure.retryable) == ("timeout", True)
    assert failure.message == "no answer from a within 10 s"


async def test_waiting_for_a_place_is_not_inside_the_timeout() -> None:
    bench = Bench(Scripted(then=9.0))
    replies = await asyncio.gather(*(bench.sending() for _ in range(5)))
    assert [reply.attempts for reply in replies] == [1] * 5
    assert [reply.latency_s for reply in replies] == pytest.approx([9.0] * 5)
    assert now_s() == pytest.approx(45)


async def test_waiting_for_the_first_place_is_not_inside_the_retry_time() -> None:
    bench = Bench(Scripted(9.0, failed()), policy=QUICK._replace(retry_time_s=5))
    first, second = bench.sending(), bench.sending()
    await first
    assert (await second).attempts == 2


@pytest.mark.parametrize(
    "outcome",
    [
        0.0,
        11.0,
        failed(),
        failed("invalid_request", retryable=False),
        failed("rate_limited", retry_after_s=5),
        failed("rate_limited", retry_after_s=9_999),
        failed("quota_exhausted", retryable=False, stops_job=True),
    ],
)
async def test_after_every_outcome_the_place_is_free(outcome: Failure | float) -> None:
    bench = Bench(Scripted(outcome), policy=QUICK._replace(max_attempts=1))
    await asyncio.gather(bench.sending(), return_exceptions=True)
    assert bench.in_flight == [0]


async def test_after_a_fault_of_a_provider_the_place_is_free_and_the_fault_seen() -> None:
    class Broken(Scripted):
        async def send(self, requests: Sequence[Request]) -> list[Reply]:
            raise ZeroDivisionError

    bench = Bench(Broken())
    with pytest.raises(ZeroDivisionError):
        await bench.send()
    assert bench.in_flight == [0]


@pytest.mark.parametrize("cancelled_at_s", [1, 6, 15])
async def test_after_a_cancellation_the_place_is_free(cancelled_at_s: float) -> None:
    """In the first attempt, in the backoff, in the second attempt."""
    bench = Bench(Scripted(5.0, then=9.0), policy=QUICK._replace(timeout_s=5, backoff_s=8))
    call = bench.sending()
    await asyncio.sleep(cancelled_at_s)
    assert bench.in_flight == [0 if cancelled_at_s == 6 else 1]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert bench.in_flight == [0]


async def test_a_call_that_is_cancelled_while_it_waits_lets_the_next_through() -> None:
    bench = Bench(Scripted(then=5.0))
    first, second, third = (bench.sending() for _ in range(3))
    await asyncio.sleep(1)
    second.cancel()
    await asyncio.gather(first, third)
    assert now_s() == pytest.approx(10)
    assert bench.calls.attempts == 2


async def test_every_attempt_is_counted_and_a_failed_one_that_was_paid_for_costs() -> None:
    paid = failed("bad_response", reply=REPLY)
    bench = Bench(Scripted(paid, failed(), paid, 0.0))
    assert (await bench.send()).attempts == 4
    calls = bench.calls
    assert calls.attempts == 4
    assert calls.failures == {"bad_response": 2, "server_error": 1}
    assert calls.usage == Usage(30, 6)
    assert set(bench.stats.calls_by_endpoint()) == {"a"}
    assert set(bench.stats.calls_by_model()) == {"sim/m"}


async def test_a_failure_that_was_paid_for_keeps_its_reply_stamped() -> None:
    bench = Bench(Scripted(then=failed("bad_response", retryable=False, reply=REPLY)))
    error = await bench.failure()
    reply = error.failure.reply
    assert reply is not None
    assert (reply.endpoint, reply.attempts, reply.cost_usd) == ("a", 1, 0.0)


async def test_attempts_are_counted_for_the_endpoint_that_they_went_to() -> None:
    bench = Bench(Scripted(then=failed()), Scripted(then=failed()))
    await bench.failure()
    counted = {name: calls.attempts for name, calls in bench.stats.calls_by_endpoint().items()}
    assert sum(counted.values()) == 5
    assert set(counted) == {"a", "b"}


@pytest.mark.parametrize(
    "in_backoff", [failed(), failed("rate_limited", retry_after_s=300)], ids=["backoff", "rest"]
)
async def test_stopping_ends_a_backoff_and_the_row_stays_pending(in_backoff: Failure) -> None:
    provider = Scripted(then=in_backoff)
    bench = Bench(provider, policy=QUICK._replace(backoff_s=100, max_backoff_s=100))
    call = bench.sending()
    await asyncio.sleep(50)
    bench.balanced.stop()
    with pytest.raises(CallStopped):
        await call
    assert now_s() == pytest.approx(50)
    assert len(provider.called_at_s) == 1
    assert bench.in_flight == [0]


async def test_after_stopping_an_answer_on_its_way_is_taken_and_a_failure_not_retried() -> None:
    bench = Bench(Scripted(5.0, failed()), capacity=2)
    answered = bench.sending()
    await asyncio.sleep(1)
    bench.balanced.stop()
    assert (await answered).text == "hi"
    with pytest.raises(CallStopped):
        await bench.send()


async def test_a_stopped_pool_sends_nobody() -> None:
    provider = Scripted(9.0)
    bench = Bench(provider)
    first, second = bench.sending(), bench.sending()
    await asyncio.sleep(1)
    bench.pool.stop()
    with pytest.raises(CallStopped):
        await second
    assert (await first).text == "hi"
    assert len(provider.called_at_s) == 1


class Sick(Scripted):
    """Fails in 10 ms from `ill_from_s` on and until `well_from_s`, else answers in a second."""

    def __init__(self, ill_from_s: float = 0, well_from_s: float = float("inf")) -> None:
        super().__init__(then=1.0)
        self.failed_at_s: list[float] = []
        self._ill_s = (ill_from_s, well_from_s)

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        if not self._ill_s[0] <= now_s() < self._ill_s[1]:
            return await super().send(requests)
        self.failed_at_s.append(now_s())
        await asyncio.sleep(0.01)
        raise CallFailed(failed())


async def worked_off(bench: Bench, rows: int, width: int) -> list[Reply]:
    """Send `rows` calls, at most `width` at a time."""
    places = asyncio.Semaphore(width)

    async def one() -> Reply:
        async with places:
            return await bench.send()

    return await asyncio.gather(*(one() for _ in range(rows)))


async def test_an_endpoint_that_fails_quickly_does_not_attract_the_calls() -> None:
    """P09: one of three fails in 10 ms; at most 1 % of all calls fail, and no row does."""
    sick = Sick()
    bench = Bench(sick, Scripted(then=1.0), Scripted(then=1.0), capacity=10)
    await worked_off(bench, rows=3_000, width=30)
    assert bench.calls.attempts == 3_000 + len(sick.failed_at_s)
    assert 8 <= len(sick.failed_at_s) <= 30
    assert now_s() < 160, "the two others alone need 150 s"


async def test_an_outage_is_sat_out_with_probes_and_no_row_is_lost() -> None:
    """P08: the only endpoint is away from 10 s to 70 s; nothing is hammered, all are answered."""
    away = Sick(ill_from_s=10, well_from_s=70)
    bench = Bench(away, capacity=20, rng=random.Random(1))
    replies = await worked_off(bench, rows=600, width=20)
    assert len(replies) == 600
    assert len([at for at in away.failed_at_s if at > 12]) <= 8
    assert max(reply.attempts for reply in replies) <= 5
    assert now_s() < 70 + 30 + 25, "a probe comes within 30 s, and 400 rows are left for 20 s"


async def test_the_many_in_flight_when_an_endpoint_falls_ill_are_one_illness() -> None:
    sick = Sick(ill_from_s=0, well_from_s=0.9)
    bench = Bench(sick, Scripted(then=1.0), capacity=64, policy=QUICK._replace(max_attempts=1))
    calls = [bench.sending() for _ in range(128)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert len(sick.failed_at_s) == 64
    assert bench.endpoints[0].cooldown_until_s == pytest.approx(1.01), "one rest, and not 57"


async def test_an_ill_endpoint_that_is_well_again_takes_its_share() -> None:
    once = Sick(ill_from_s=0, well_from_s=5)
    bench = Bench(once, Scripted(then=1.0), capacity=5)
    replies = await worked_off(bench, rows=400, width=10)
    assert len([1 for reply in replies if reply.endpoint == "a"]) > 100


async def test_rows_that_are_refused_do_not_make_an_endpoint_ill() -> None:
    refusing = Scripted(then=failed("invalid_request", retryable=False))
    bench = Bench(refusing, Scripted(0.0, then=failed("invalid_request", retryable=False)))
    await bench.send()
    for _ in range(50):
        await bench.failure()
    assert now_s() == 0
    assert bench.pool.cooldown_left_s() == 0


EMPTY = failed("bad_response", reply=REPLY)
CUT = failed("bad_response", reply=REPLY, retryable=False)


@pytest.mark.parametrize(
    ("answer", "endpoints", "rests"),
    [(EMPTY, 1, False), (CUT, 1, False), (CUT, 2, False), (EMPTY, 2, True)],
)
async def test_answers_that_say_nothing_are_no_illness_unless_others_may_say_more(
    answer: Failure, endpoints: int, rests: bool
) -> None:
    """Or the last rows of a job, which are those that fail, would wait for rest after rest."""
    providers = [Scripted(0.0, then=answer) for _ in range(endpoints)]
    bench = Bench(*providers, capacity=20)
    calls = [bench.sending() for _ in range(20 * endpoints)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert (bench.pool.trips > 0) == rests


async def test_the_only_endpoint_is_not_given_a_rest_before_it_ever_answered() -> None:
    """So that a wrong address is told after the attempts of a row and not after many rests."""
    provider = Scripted(then=failed("connection"))
    bench = Bench(provider, policy=QUICK._replace(max_attempts=19))
    await bench.failure()
    assert bench.pool.cooldown_left_s() == 0
    assert provider.called_at_s[-1] == pytest.approx(1 + 2 + 4 + 8 * 15)


class Counted(Unlimited):
    """Limits tokens, and allows every call."""

    def __init__(self) -> None:
        super().__init__()
        self.max_call_tokens = 1_000.0


async def test_the_reserved_tokens_are_reconciled_with_those_that_were_used() -> None:
    counted = Counted()
    bench = Bench(Scripted(), limiter=counted)
    for _ in range(2):  # what is taken before anything was learned is a guess, and may be kept
        await bench.send()
    assert len(counted.reserved) == 2
    assert counted.reserved[1] > 12
    assert counted.reconciled[1] == (counted.reserved[1], 12)


async def test_every_attempt_takes_from_the_limit() -> None:
    counted = Counted()
    bench = Bench(Scripted(failed(), failed()), limiter=counted)
    await bench.send()
    assert len(counted.reserved) == 3


async def test_a_call_that_is_larger_than_every_limit_fails_its_row_and_is_not_sent() -> None:
    provider = Scripted()
    counted = Counted()
    bench = Bench(provider, limiter=counted)
    long = Request(model="sim/m", messages=[{"role": "user", "content": "word " * 2_000}])
    with pytest.raises(CallFailed, match=r"tokens, and the limit is 1000 a minute") as raised:
        await bench.balanced.send((long,))
    assert (raised.value.attempts, raised.value.failure.retryable) == (0, False)
    assert provider.called_at_s == []
    assert counted.reserved == []


async def test_the_pool_is_that_of_the_model() -> None:
    asked: list[str] = []
    bench = Bench(Scripted())

    def pool_of(model: str) -> Pool:
        asked.append(model)
        return bench.pool

    picked: Callable[[str], Pool] = pool_of
    await Balancer(picked, QUICK, Stats()).send((REQUEST, REQUEST))
    assert asked == ["sim/m"]


async def test_no_task_is_left_behind() -> None:
    bench = Bench(Scripted(failed("rate_limited", retry_after_s=3), 11.0, 1.0))
    await asyncio.gather(*(bench.sending() for _ in range(3)))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failing_endpoint_rests_longer_and_longer_with_one_probe_after_each() -> None:
    """Eight failures in a row, then 1 2 4 8 16 30 30 s; it has answered before."""
    provider = Scripted(0.0, then=failed())
    bench = Bench(provider, capacity=8, policy=QUICK._replace(max_attempts=1, retry_time_s=100))
    await bench.send()
    await asyncio.gather(*(bench.sending() for _ in range(8)), return_exceptions=True)
    assert provider.called_at_s[1:9] == [0] * 8
    assert provider.called_at_s[9:] == pytest.approx([1, 3, 7, 15, 31, 61, 91], abs=1e-3)


async def test_a_probe_is_sent_at_the_end_of_the_rest_however_often_its_row_was_tried() -> None:
    """The dice show the longest backoff; who waits for an ill endpoint does not back off."""
    provider = Scripted(0.0, *[failed()] * 14, then=0.0)
    bench = Bench(provider, capacity=8)
    await bench.send()
    await asyncio.gather(*(bench.sending() for _ in range(8)))
    assert provider.called_at_s[9:16] == pytest.approx([1, 3, 7, 15, 31, 61, 91], abs=1e-2)


async def test_what_fails_because_its_endpoint_is_ill_does_not_use_up_the_attempts() -> None:
    provider = Scripted(0.0, *[failed()] * 30, then=0.0)
    bench = Bench(provider, capacity=20, policy=QUICK._replace(max_attempts=2))
    await bench.send()
    replies = await asyncio.gather(*(bench.sending() for _ in range(20)))
    assert max(reply.attempts for reply in replies) > 2


async def test_a_row_that_fails_wherever_it_goes_uses_up_its_attempts() -> None:
    """Other rows are answered in between: the endpoints are well, the row is not."""

    class Poisoned(Scripted):
        async def send(self, requests: Sequence[Request]) -> list[Reply]:
            if requests[0].seed == 13:
                raise CallFailed(failed())
            return await super().send(requests)

    bench = Bench(Poisoned(then=0.1), Poisoned(then=0.1), capacity=5)

    async def beside() -> None:
        while True:
            await bench.send()

    others = [asyncio.create_task(beside()) for _ in range(3)]
    with pytest.raises(CallFailed) as raised:
        await bench.balanced.send((Request(model="sim/m", messages=[], seed=13),))
    assert raised.value.attempts == 5
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def test_a_thousand_that_fail_at_once_are_all_answered_and_tried_again_one_by_one() -> None:
    """A server that restarts: what waits for its probe is no storm, and takes no retry budget."""
    provider = Scripted(0.0, *[failed("connection")] * 1_000, then=0.1)
    bench = Bench(provider, capacity=1_000, rng=random.Random(1))
    await bench.send()
    replies = await asyncio.gather(*(bench.sending() for _ in range(1_000)))
    assert len(replies) == 1_000
    again_s = provider.called_at_s[1_001:]
    assert min(again_s) >= 1, "after the rest"
    assert again_s[1] > again_s[0], "with one probe"
    assert now_s() < 30


async def test_retries_beyond_the_budget_wait() -> None:
    """Every call fails once, at an endpoint that never rests: ten at once, then one a second."""

    class Once(Scripted):
        def __init__(self) -> None:
            super().__init__()
            self.retried_at_s: list[float] = []
            self._seen: set[int | None] = set()

        async def send(self, requests: Sequence[Request]) -> list[Reply]:
            if requests[0].seed not in self._seen:
                self._seen.add(requests[0].seed)
                raise CallFailed(failed())
            self.retried_at_s.append(now_s())
            return await super().send(requests)

    provider = Once()
    bench = Bench(provider, capacity=100, policy=QUICK._replace(backoff_s=1e-6))
    bench.balanced._first_calls.answered()  # else the run would stop
    requests = [Request(model="sim/m", messages=[], seed=number) for number in range(60)]
    await asyncio.gather(*(bench.balanced.send((request,)) for request in requests))
    assert sum(at < 0.01 for at in provider.retried_at_s) == 12, "ten, and a fifth of these calls"
    assert max(provider.retried_at_s) == pytest.approx(60 - 10 - 60 * 0.2, abs=1)


async def test_a_retry_that_would_come_too_late_is_not_made_and_takes_nothing_of_the_budget() -> (
    None
):
    bench = Bench(Scripted(then=failed()), capacity=100, policy=QUICK._replace(retry_time_s=5))
    calls = [bench.sending() for _ in range(100)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert bench.pool.retries.wait_s(now_s()) <= 6


async def test_a_refusal_that_names_its_time_takes_nothing_of_the_retry_budget() -> None:
    refused = failed("rate_limited", retry_after_s=1)
    bench = Bench(Scripted(*[refused] * 50), capacity=50, rng=random.Random(1))
    await asyncio.gather(*(bench.sending() for _ in range(50)))
    assert bench.pool.retries.wait_s(now_s()) == 0


HUGE_S = [3_601.0, 86_400.0, 1e300, float("inf")]


@pytest.mark.parametrize("asked_s", HUGE_S)
async def test_a_huge_rest_is_capped_at_an_hour_with_one_warning_for_all_calls(
    asked_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """P04."""
    refused = failed("rate_limited", retry_after_s=asked_s)
    bench = Bench(Scripted(*[refused] * 64), capacity=64)
    await asyncio.gather(*(bench.sending() for _ in range(64)), return_exceptions=True)
    assert bench.pool.cooldown_left_s() == pytest.approx(3_600)
    said = [r.getMessage() for r in caplog.records if "capped" in r.getMessage()]
    assert said == [f"a sent Retry-After {asked_s:g} s; capped at 3600 s"]


async def test_a_rest_of_an_hour_is_given_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Scripted(failed("rate_limited", retry_after_s=3_600)))
    await bench.failure()
    assert bench.pool.cooldown_left_s() == pytest.approx(3_600)
    assert "Retry-After" not in caplog.text


async def test_a_pace_that_is_learned_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    provider = Scripted(*[0.0] * 40, failed("rate_limited", retry_after_s=1), 0.0, then=0.0)
    bench = Bench(provider, capacity=10)
    for _ in range(60):
        await bench.send()
    said = [r.getMessage() for r in caplog.records if "429" in r.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("a is rate limiting (429); throttled to about ")


async def test_a_limit_that_the_provider_tells_is_kept_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = Scripted()
    bench = Bench(provider, capacity=10, limiter=RateLimits(600, None))
    await bench.send()
    provider.quota = Quota(requests_per_min=60.0)
    for _ in range(20):
        await bench.send()
    assert [r.getMessage() for r in caplog.records] == [
        "a reports a limit of 60 requests a minute, where 600 are set; using the lower"
    ]
    assert now_s() > 15
    limits = bench.endpoints[0].summary()["limits"]
    assert (limits["rpm"], limits["provider_rpm"]) == (600, 60)


async def test_a_limit_is_learned_from_a_refusal_too() -> None:
    provider = Scripted(failed("rate_limited", retry_after_s=1))
    provider.quota = Quota(tokens_per_min=5_000.0)
    bench = Bench(provider, limiter=RateLimits(None, None))
    await bench.send()
    assert bench.pool.max_call_tokens == 5_000


async def test_an_exhausted_pool_fails_a_row_with_the_attempts_that_it_had() -> None:
    bench = Bench(Scripted(then=failed("overloaded")), capacity=8)
    bench.pool.patience_s = 10
    bench.endpoints[0].breaker.has_answered = True
    outcomes = await asyncio.gather(*(bench.sending() for _ in range(8)), return_exceptions=True)
    assert all(isinstance(o, CallFailed) and o.failure.retryable for o in outcomes)
    assert all(isinstance(o, CallFailed) and o.attempts >= 1 for o in outcomes)
    assert now_s() <= 15.5


async def test_seven_failures_in_a_row_are_no_reason_to_rest() -> None:
    script: list[Failure | float] = [0.0, *[failed()] * 7]
    provider = Scripted(*script * 10)
    bench = Bench(provider, policy=QUICK._replace(max_attempts=1))
    calls = [bench.sending() for _ in range(80)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert now_s() == 0
    assert bench.calls.attempts == 80


async def test_calls_that_are_refused_for_their_rate_do_not_make_an_endpoint_ill() -> None:
    refusing = Scripted(0.0, then=failed("rate_limited"))
    bench = Bench(refusing, policy=QUICK._replace(max_attempts=1))
    await bench.send()
    await asyncio.sleep(1)
    for _ in range(50):
        await bench.failure()
    assert now_s() == 1
    assert bench.pool.cooldown_left_s() == 0


async def test_calls_from_before_an_outage_that_are_answered_in_it_do_not_end_it() -> None:
    class Draining(Sick):
        def __init__(self) -> None:
            super().__init__(ill_from_s=5)
            self._then = 20.0

    away = Draining()
    bench = Bench(away, capacity=20, policy=QUICK._replace(max_attempts=1, timeout_s=30))
    begun = [bench.sending() for _ in range(5)]
    bench.endpoints[0].breaker.has_answered = True
    await asyncio.sleep(6)
    late = [bench.sending() for _ in range(40)]
    await asyncio.gather(*begun)
    await asyncio.sleep(10)
    assert len([at for at in away.failed_at_s if at > 7.5]) <= 4, "probes after 2, 4, 8, 16 s"
    for call in late:
        call.cancel()
    await asyncio.gather(*late, return_exceptions=True)


async def test_a_row_takes_the_endpoint_that_has_quota_left_at_once() -> None:
    first, second = Scripted(), Scripted()
    bench = Bench(first, second, capacity=10)
    for one in bench.endpoints:
        one.limiter = RateLimits(60, None)
    names = {(await bench.send()).endpoint for _ in range(2)}
    assert names == {"a", "b"}
    assert now_s() == 0
    await bench.send()
    assert now_s() == pytest.approx(1, abs=1e-4)


async def test_an_estimate_that_somebody_reads_is_taught_by_every_call() -> None:
    estimates, bench = TokenEstimates(), Bench(Scripted())
    balancer = Balancer(lambda _: bench.pool, QUICK, Stats(), estimates=estimates)
    await balancer.send((REQUEST,))
    assert estimates.in_use(REQUEST.model) is None, "nobody reads it"
    before = estimates[REQUEST.model].of((REQUEST,))
    await balancer.send((REQUEST,))
    assert estimates[REQUEST.model].of((REQUEST,)) < before


def refused(status: int) -> Failure:
    return failed("unauthorized", retryable=False, stops_job=True, status=status)


class Deciding(Scripted):
    """Answers but for the requests whose seed is to be refused."""

    def __init__(self, refusal: Failure, *seeds: int, after_s: float = 0.0) -> None:
        super().__init__()
        self._refusal = refusal
        self._seeds = seeds
        self._after_s = after_s

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        await asyncio.sleep(self._after_s if requests[0].seed in self._seeds else 1.0)
        if requests[0].seed in self._seeds:
            self.called_at_s.append(now_s())
            raise CallFailed(self._refusal)
        return await super().send(requests)


async def outcomes(bench: Bench, rows: int) -> list[Reply | BaseException]:
    requests = [Request(model="sim/m", messages=[], seed=number) for number in range(rows)]
    sending = (bench.balanced.send((request,)) for request in requests)
    replies = await asyncio.gather(*sending, return_exceptions=True)
    return [reply if isinstance(reply, BaseException) else reply[0] for reply in replies]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("bad", [0, 7])
async def test_one_row_that_is_refused_among_others_that_are_answered_fails_alone(
    status: int, bad: int
) -> None:
    bench = Bench(Deciding(refused(status), bad), capacity=4)
    found = await outcomes(bench, 12)
    assert [isinstance(one, CallFailed) for one in found] == [n == bad for n in range(12)]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_for_every_row_stops_the_job_with_no_more_than_is_in_flight(
    status: int,
) -> None:
    provider = Deciding(refused(status), *range(100))
    found = await outcomes(Bench(provider, capacity=16), 100)
    assert any(isinstance(one, ProviderRefused) for one in found)
    assert not any(isinstance(one, CallFailed) for one in found[:16])


async def test_a_key_that_is_refused_from_some_row_on_stops_the_job() -> None:
    provider = Deciding(refused(403), *range(20, 100))
    found = await outcomes(Bench(provider, capacity=16), 100)
    assert any(isinstance(one, ProviderRefused) for one in found)


async def test_a_run_that_stops_waits_for_no_evidence() -> None:
    bench = Bench(Deciding(refused(403), 0), capacity=2)
    calls = asyncio.ensure_future(outcomes(bench, 2))
    await asyncio.sleep(0.5)
    bench.balanced.stop()
    found = await calls
    assert isinstance(found[0], CallStopped)


class Busy(Scripted):
    """Accepts so many calls in any second, and names no time when it refuses others."""

    def __init__(self, per_s: int) -> None:
        super().__init__()
        self._per_s = per_s
        self._accepted: list[float] = []
        self.refused = 0

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        await asyncio.sleep(0.05)
        if len([at for at in self._accepted if at > now_s() - 1]) >= self._per_s:
            self.refused += 1
            raise CallFailed(failed("rate_limited"))
        self._accepted.append(now_s())
        return await super().send(requests)


async def test_a_rate_limit_uses_no_attempt_while_other_rows_are_answered() -> None:
    bench = Bench(Busy(2), capacity=40, policy=QUICK._replace(max_attempts=2))
    found = await outcomes(bench, 60)
    assert all(isinstance(one, Reply) for one in found)


async def test_a_rate_limit_without_a_time_is_met_at_its_pace_and_not_by_a_storm() -> None:
    """500 rows at 20 a second are 25 s; before, they took 79 s and 951 refusals."""
    provider = Busy(20)
    bench = Bench(provider, capacity=64, policy=RetryPolicy())
    bench.endpoints[0].window = AdaptiveWindow(64)
    found = await outcomes(bench, 500)
    assert all(isinstance(one, Reply) for one in found)
    assert now_s() < 30
    assert provider.refused < 300


async def test_a_run_without_any_answer_stops_after_the_first_failed_calls() -> None:
    provider = Scripted(then=failed("connection"))
    bench = Bench(provider, capacity=64)
    calls = [bench.sending() for _ in range(500)]
    ended, left = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
    for call in left:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    errors = [call.exception() for call in ended]
    assert all(isinstance(error, ProviderRefused) for error in errors)
    assert re.search(
        r"nothing was answered: the first \d\d calls to a failed alike", str(errors[0])
    )
    assert now_s() < 1


async def test_a_server_that_is_loading_or_busy_is_waited_for_from_the_first_call() -> None:
    busy = [failed("overloaded")] * 30
    bench = Bench(Scripted(*busy), capacity=10, policy=QUICK._replace(max_attempts=8))
    found = await outcomes(bench, 10)
    assert not any(isinstance(one, ProviderRefused) for one in found)


async def test_a_part_that_fails_for_its_content_is_not_tried_again_and_opens_no_circuit() -> None:
    bench = Bench(Scripted(0.0, then=failed("server_error")), capacity=20)
    await bench.send()
    for _ in range(20):
        with pytest.raises(CallFailed):
            await bench.balanced.send_part((REQUEST, REQUEST), 0)
    assert bench.calls.attempts == 21
    assert bench.pool.cooldown_left_s() == 0


@pytest.mark.parametrize(("failed_before", "attempts"), [(0, 5), (3, 2), (7, 1)])
async def test_a_single_row_has_the_attempts_that_its_batches_left_it(
    failed_before: int, attempts: int
) -> None:
    bench = Bench(Scripted(0.0, then=failed("server_error")), capacity=20)
    await bench.send()
    with pytest.raises(CallFailed):
        await bench.balanced.send_part((REQUEST,), failed_before)
    assert bench.calls.attempts == 1 + attempts
