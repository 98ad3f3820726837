"""Figures and what binds, as a person reads them."""

from collections.abc import Callable, Mapping
from typing import Any

BINDING = {
    "rpm": "requests/min of",
    "tpm": "tokens/min of",
    "rpd": "requests/day of",
    "tpd": "tokens/day of",
    "concurrency": "the calls in flight, with the time that each takes, at",
    "process": "what a process gets through, which is",
}
"""What can bind, in words that stand before the name of what it binds."""


def in_words(binds: dict[str, Any] | None) -> str:
    """Return what binds, as the beginning of a sentence."""
    if binds is None:
        return "nothing that is set binds"
    whose = "user " if binds["scope"] == "user" else ""
    return f"{BINDING[binds['budget']]} {whose}{binds['name']} binds"


def dollars(usd: float) -> str:
    """Return dollars with as many digits as tell something."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4g}"


def hours(value: float) -> str:
    """Return hours for a person: in seconds or minutes where they are few."""
    if value < 1 / 60:
        return f"{value * 3600:,.0f} s"
    return f"{value * 60:,.1f} min" if value < 2 else f"{value:,.1f} h"


def between(span: Mapping[str, float | None], show: Callable[[float], str]) -> str:
    """Return a figure with its bounds, or what is known of it."""
    best, low, high = span["estimate"], span["low"], span["high"]
    if low is None:
        return "unknown" if best is None else show(best)
    if high is None:
        around = f"at least {show(low)}"
    elif show(low) == show(high):
        return show(high)
    else:
        around = f"{show(low)} to {show(high)}"
    return around if best is None else f"{show(best)} ({around})"
