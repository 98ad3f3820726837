"""Figures with their bounds, as a person reads them."""

from collections.abc import Callable

from llmscale.accounting.forecast.interval import Interval


def dollars(usd: float) -> str:
    """Return dollars with as many digits as tell something."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4g}"


def hours(value: float) -> str:
    """Return hours for a person: in seconds or minutes where they are few."""
    if value < 1 / 60:
        return f"{value * 3600:,.0f} s"
    return f"{value * 60:,.1f} min" if value < 2 else f"{value:,.1f} h"


def between(interval: Interval, show: Callable[[float], str]) -> str:
    """Return a value with its bounds, or what is known of it."""
    best, low, high = interval.estimate, interval.low, interval.high
    if low is None:
        return "unknown" if best is None else show(best)
    if high is None:
        around = f"at least {show(low)}"
    elif show(low) == show(high):
        return show(high)
    else:
        around = f"{show(low)} to {show(high)}"
    return around if best is None else f"{show(best)} ({around})"
