"""What the first call of a queue waits for, and for how long that was a limit.

Decides nothing.
"""

from llmscale.accounting.stats import BOTTLENECK_OF, Bottleneck, Cause

_LIMITS: frozenset[Bottleneck] = frozenset({"requests", "tokens", "retries"})


class WaitCause:
    """What the first call waits for now, and the seconds in which it was a limit."""

    def __init__(self) -> None:
        self.by: Cause | None = None  # now; None: no call waits
        self._since_s = 0.0
        self._limited_s = 0.0

    def switch(self, by: Cause | None, now_s: float) -> None:
        """Note what the first call waits for from now on."""
        self._limited_s = self.limited_s(now_s)
        self.by, self._since_s = by, now_s

    def limited_s(self, now_s: float) -> float:
        """Return in how many seconds until now it was a limit, a cooldown or an adaptive pace."""
        if self.by is None or BOTTLENECK_OF[self.by] not in _LIMITS:
            return self._limited_s
        return self._limited_s + now_s - self._since_s
