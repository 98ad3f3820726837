"""How the server behaves: the options of the command and of a phase of a scenario.

One table for both, so that neither knows an option that the other does not. A wrong value is a
`ValueError` that says what the option takes; it is never bent into a right one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from llmscale.core.units import per_minute

MAX_S = 7 * 86_400.0
SLOW_FACTOR = 10
MAX_CALLS = 10**6

Outage = int | Literal["reset"]
"""The status that every call gets, or the TCP reset."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How calls are treated."""

    latency_s: float = 0.0
    jitter_s: float = 0.0  # at most this much more
    slow_tail: float = 0.0  # share of calls that take `SLOW_FACTOR` times as long
    error_rate: float = 0.0
    hang_rate: float = 0.0
    cut_body: float = 0.0
    rpm: int | None = None
    tpm: int | None = None
    rpm_model: str | None = None  # the only model whose calls count for rpm; None: all do
    tpm_model: str | None = None
    retry_after_s: float | None = None  # None: until the limit allows a request
    capacity: int | None = None
    bad_text: str | None = None  # a call with a text in which this stands fails
    finish_reason: str | None = None  # of every chat answer; None: the true one
    outage: Outage | None = None


def seconds(value: object) -> float:
    """Read a time."""
    number = _number(value)
    if number is None or not 0 <= number <= MAX_S:
        raise ValueError(f"invalid time {value!r}; write seconds from 0 to {MAX_S:.0f}")
    return number


def share(value: object) -> float:
    """Read a share of the calls."""
    number = _number(value)
    if number is None or not 0 <= number <= 1:
        raise ValueError(f"invalid share {value!r}; write a number from 0 to 1, for example 0.1")
    return number


def rate(value: object) -> int:
    """Read a rate as a whole number per minute."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"invalid rate {value!r}; write for example 500, 500/min or 10/s")
    whole = int(per_minute(value) + 1e-6)  # 7/s are 420 a minute, whatever the division leaves
    if whole < 1:
        raise ValueError(f"rate {value!r} is below 1 per minute")
    return whole


def count(value: object) -> int:
    """Read how many calls at once."""
    return whole_number(value, 1, MAX_CALLS)


def word(value: object) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"invalid text {value!r}; write a word in quotes")
    return value


def whole_number(value: object, minimum: int, maximum: int) -> int:
    """Read a whole number."""
    number = _number(value)
    if number is None or not minimum <= number <= maximum or number != int(number):
        raise ValueError(f"invalid number {value!r}; write an integer from {minimum} to {maximum}")
    return int(number)


OPTIONS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "latency": ("latency_s", seconds),
    "jitter": ("jitter_s", seconds),
    "slow_tail": ("slow_tail", share),
    "error_rate": ("error_rate", share),
    "hang_rate": ("hang_rate", share),
    "cut_body": ("cut_body", share),
    "rpm": ("rpm", rate),
    "tpm": ("tpm", rate),
    "retry_after": ("retry_after_s", seconds),
    "capacity": ("capacity", count),
    "bad_text": ("bad_text", word),
    "finish_reason": ("finish_reason", word),
}
"""Name of an option: the field that it sets, and how its value is read."""


def read_option(name: str, value: object) -> dict[str, Any]:
    """Return the field that an option sets, with its value. Raises `ValueError`."""
    field, read = OPTIONS[name]
    return {field: read(value)}


def changed(behaviour: Behaviour, changes: Mapping[str, Any]) -> Behaviour:
    """Return the behaviour with some fields set. Raises `ValueError` for more faults than calls."""
    result = replace(behaviour, **changes)
    if result.hang_rate + result.error_rate + result.cut_body > 1 + 1e-9:
        raise ValueError(
            f"hang_rate {result.hang_rate:g}, error_rate {result.error_rate:g} and cut_body "
            f"{result.cut_body:g} exceed all calls; their sum is at most 1"
        )
    return result


def _number(value: object) -> float | None:
    """Return a number, None for what is none; TOML's `true` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
