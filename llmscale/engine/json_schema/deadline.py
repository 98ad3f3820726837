"""How long a check may take where it is made: every keyword of a schema looks at it."""

import time


class OutOfTime(Exception):
    """A check has not ended in the time that it was given."""


class Deadline:
    """The end of the check that is going on."""

    def __init__(self) -> None:
        self._at_s = float("inf")

    def set(self, after_s: float | None) -> None:
        """Start to count; None: the check may take as long as it takes."""
        self._at_s = float("inf") if after_s is None else time.perf_counter() + after_s

    def left_s(self) -> float | None:
        """Return what is left, None for no end. Raises `OutOfTime`."""
        if self._at_s == float("inf"):
            return None
        left_s = self._at_s - time.perf_counter()
        if left_s <= 0:
            raise OutOfTime
        return left_s
