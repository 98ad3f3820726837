"""What every `RateLimiter` has to do. A subclass makes one, and runs on virtual time.

A limiter that leases its share over a network passes the same tests in one process.
"""

import asyncio
from abc import ABC, abstractmethod

import pytest

from llmscale.core.protocols import RateLimiter
from llmscale.core.records import Quota
from tests.virtual_time import most_in_a_minute, now_s

RPM, TPM = 60, 6_000


@pytest.mark.looptime
class RateLimiterContract(ABC):
    """The rules. Of 60 requests and 6,000 tokens a minute."""

    @abstractmethod
    def limiter(self, rpm: float | None, tpm: float | None) -> RateLimiter:
        """Return a limiter that nothing was reserved of; None: no limit."""

    async def sent(self, limiter: RateLimiter, tokens: int, until_s: float) -> list[float]:
        """Send calls of `tokens` as fast as they may go; return when."""
        times = []
        while now_s() + (wait_s := limiter.wait_s(tokens)) < until_s:
            await asyncio.sleep(wait_s)
            if not limiter.wait_s(tokens):
                limiter.reserve(tokens)
                times.append(now_s())
        return times

    async def test_no_minute_has_more_requests_than_the_limit_and_three_have_nearly_all(
        self,
    ) -> None:
        times = await self.sent(self.limiter(RPM, None), 0, 180)
        assert most_in_a_minute([(at_s, 1) for at_s in times]) <= RPM
        assert len(times) >= 0.95 * 3 * RPM

    async def test_no_minute_has_more_tokens_than_the_limit(self) -> None:
        times = await self.sent(self.limiter(None, TPM), 50, 180)
        assert most_in_a_minute([(at_s, 50) for at_s in times]) <= TPM
        assert len(times) * 50 >= 0.95 * 3 * TPM

    async def test_after_the_wait_that_is_named_the_call_may_be_sent_and_not_before(self) -> None:
        limiter = self.limiter(RPM, None)
        await self.sent(limiter, 0, 30)
        wait_s = limiter.wait_s(0)
        assert wait_s > 0
        await asyncio.sleep(wait_s * 0.9)
        assert limiter.wait_s(0) > 0
        await asyncio.sleep(wait_s * 0.1 + 0.001)
        assert limiter.wait_s(0) == 0

    async def test_a_call_above_the_limit_of_a_minute_never_fits(self) -> None:
        limiter = self.limiter(None, TPM)
        assert limiter.max_call_tokens == TPM
        assert limiter.wait_s(TPM + 1) == float("inf")

    async def test_without_a_limit_of_tokens_none_need_be_estimated(self) -> None:
        assert self.limiter(RPM, None).max_call_tokens is None

    async def test_tokens_that_were_not_used_are_free_again(self) -> None:
        limiter = self.limiter(None, TPM)
        limiter.reserve(TPM // 2)
        longer_s = limiter.wait_s(50)
        limiter.reconcile(reserved=TPM // 2, used=0)
        assert limiter.wait_s(50) < longer_s

    async def test_tokens_beyond_the_reservation_count_too(self) -> None:
        limiter = self.limiter(None, TPM)
        limiter.reserve(60)
        before_s = limiter.wait_s(60)
        limiter.reconcile(reserved=60, used=TPM // 2)
        assert limiter.wait_s(60) > before_s + 20

    async def test_a_refund_returns_the_request_and_its_tokens(self) -> None:
        limiter = self.limiter(RPM, TPM)
        limiter.reserve(60)
        assert limiter.wait_s(60) > 0
        limiter.refund(60)
        assert limiter.wait_s(60) == 0

    async def test_the_binding_limit_is_the_one_with_the_longest_wait(self) -> None:
        limiter = self.limiter(RPM, TPM)
        limiter.reserve(3_000)
        name, wait_s = limiter.binding_limit(3_000)
        assert (name, wait_s) == ("tpm", limiter.wait_s(3_000))

    async def test_no_call_is_sent_during_a_cooldown_and_a_shorter_one_does_not_end_it(
        self,
    ) -> None:
        limiter = self.limiter(RPM, None)
        limiter.cool_down(10)
        limiter.cool_down(1)
        assert limiter.wait_s(0) == pytest.approx(10)
        await asyncio.sleep(10)
        assert limiter.wait_s(0) == 0

    async def test_a_lower_limit_that_the_provider_reports_holds_and_is_returned(self) -> None:
        limiter = self.limiter(RPM, None)
        (differs,) = limiter.learn(Quota(requests_per_min=6))
        assert "6 requests" in differs
        assert len(await self.sent(limiter, 0, 120)) <= 13
        assert limiter.summary()["provider_rpm"] == 6

    async def test_a_higher_limit_that_the_provider_reports_changes_nothing(self) -> None:
        limiter = self.limiter(RPM, None)
        limiter.learn(Quota(requests_per_min=6_000))
        times = await self.sent(limiter, 0, 60)
        assert most_in_a_minute([(at_s, 1) for at_s in times]) <= RPM

    async def test_closing_twice_is_closing_once(self) -> None:
        limiter = self.limiter(RPM, TPM)
        await limiter.aclose()
        await limiter.aclose()
