"""Numbers of a report in a person's words: the same on a terminal and on the page."""

from typing import Any


def counted(number: int, noun: str) -> str:
    """Return `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tokens_of(calls: dict[str, Any]) -> int:
    """Return all tokens of calls, in and out."""
    tokens = calls["tokens"]
    return int(tokens["input_tokens"] + tokens["output_tokens"])


def dollars(calls: dict[str, Any]) -> str:
    """Return what calls have cost; what is not known is said, and never zero."""
    cost_usd = calls["cost_usd"]
    if cost_usd is None:
        return "cost unknown"
    at_least = "at least " if calls["unpriced"] else ""
    return f"{at_least}{usd(cost_usd)}"


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
    """Return hours with the units that a person would use."""
    return "unknown" if value is None else duration(value * 3600)


def span(value_s: float) -> str:
    """Return a time in few characters, for an axis: 250 ms, 3.2 s, 12 min, 5.5 h."""
    if not value_s:
        return "0"
    if value_s < 1:
        return f"{value_s * 1000:.3g} ms"
    if value_s < 120:
        return f"{value_s:.3g} s"
    return f"{value_s / 60:.3g} min" if value_s < 7200 else f"{value_s / 3600:.3g} h"
