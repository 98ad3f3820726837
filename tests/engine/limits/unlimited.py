"""A `RateLimiter` without a limit, for fakes that care about one question only."""

from collections.abc import Callable

from llmscale.core.records import Limit, Quota


class Unlimited:
    """Allows every call at once, and keeps what was reserved and reconciled."""

    def __init__(self) -> None:
        self.reserved: list[int] = []
        self.reconciled: list[tuple[int, int]] = []  # reserved, used
        self.max_call_tokens: float | None = None

    def wait_s(self, tokens: int) -> float:
        del tokens
        return 0.0

    def binding_limit(self, tokens: int) -> tuple[Limit, float]:
        return "rpm", self.wait_s(tokens)

    def reserve(self, tokens: int) -> None:
        self.reserved.append(tokens)

    def reconcile(self, reserved: int, used: int) -> None:
        self.reconciled.append((reserved, used))

    def refund(self, tokens: int) -> None:
        raise AssertionError("a call that was reserved is sent")

    def cool_down(self, seconds: float) -> None:
        del seconds

    def when_changed(self, then: Callable[[], None]) -> None:
        self.then = then

    def summary(self) -> dict[str, float | None]:
        return {}

    def learn(self, quota: Quota) -> list[str]:
        raise AssertionError(f"no limits are reported, not {quota}")

    async def aclose(self) -> None:
        """Nothing is leased."""
