"""Every `RateLimiter` passes the one contract suite."""

from llmscale.core.protocols import RateLimiter
from llmscale.engine.limits import RateLimits
from tests.engine.limits.contract import RateLimiterContract


class TestRateLimits(RateLimiterContract):
    """The limits of one process."""

    def limiter(self, rpm: float | None, tpm: float | None) -> RateLimiter:
        return RateLimits(rpm, tpm)
