"""Numbers in a person's words: the same on a terminal, in a log and on the page."""

from collections.abc import Callable

from llmscale.accounting.forecast.interval import Interval
from llmscale.accounting.stats.summaries import CallsSummary


def counted(number: int, noun: str) -> str:
    """Return `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(value: float | None) -> str:
    """Return a whole number; a dash where there is none."""
    return "-" if value is None else f"{value:,.0f}"


def significant(value: float | None, digits: int = 6) -> str:
    """Return a number with so many digits that count; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}g}"


def cost_of(calls: CallsSummary) -> str:
    """Return what calls have cost; what is not known is said, and never zero."""
    if calls.cost_usd is None:
        return "cost unknown"
    at_least = "at least " if calls.unpriced else ""
    return f"{at_least}{usd(calls.cost_usd)}"


def dollars(amount: float) -> str:
    """Return dollars with as many digits as tell something: of an estimate."""
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4g}"


def usd(amount: float | None) -> str:
    """Return dollars, to a hundredth of a cent."""
    if amount is None:
        return "unknown"
    return f"${amount:,.4f}" if amount else "$0"


def seconds(value_s: float | None) -> str:
    """Return seconds without their unit; a dash where nothing was counted."""
    if value_s is None:
        return "-"
    return f"{value_s:.3f}" if value_s < 10 else f"{value_s:.1f}"


def share(value: float | None) -> str:
    """Return a share as percent; a dash where there is none."""
    return "-" if value is None else f"{value:.1%}".replace("%", " %")


def duration(value_s: float) -> str:
    """Return a time with its unit: 12.3 s, 4 min 5 s, 3 h 20 min."""
    if value_s < 60:
        return f"{value_s:.1f} s"
    minutes, cooldown_s = divmod(round(value_s), 60)
    if minutes < 60:
        return f"{minutes} min {cooldown_s} s"
    return f"{minutes // 60} h {minutes % 60} min"


def hours(value: float | None) -> str:
    """Return hours for a person: in seconds or minutes where they are few."""
    if value is None:
        return "unknown"
    if value < 1 / 60:
        return f"{value * 3600:,.0f} s"
    return f"{value * 60:,.1f} min" if value < 2 else f"{value:,.1f} h"


def span(value_s: float) -> str:
    """Return a time in few characters, for an axis: 250 ms, 3.2 s, 12 min, 5.5 h."""
    if not value_s:
        return "0"
    if value_s < 1:
        return f"{value_s * 1000:.3g} ms"
    if value_s < 120:
        return f"{value_s:.3g} s"
    return f"{value_s / 60:.3g} min" if value_s < 7200 else f"{value_s / 3600:.3g} h"


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
