"""How long a provider asks to be left alone, from the headers of its answer.

Understands `retry-after-ms`, `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3), and
the reset headers of OpenAI (`1m30s`, `250ms`) and Anthropic (an ISO 8601 moment). Anything that is
not a time in the future is no wish at all.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from llmscale.providers.registry import LIMIT_HEADERS

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DURATION_CHARACTERS = 64  # the pattern takes the square of the length on what is none
_BUDGETS = [(names, unit) for names in LIMIT_HEADERS for unit in names.units]
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds to wait, however many, or None where no wish is made.

    `headers` is case-insensitive or has lower-case names. `now` is the wall clock, for tests.
    """
    now = now or datetime.now(UTC)
    wishes = (
        _milliseconds(headers.get("retry-after-ms")),
        _seconds_or_date(headers.get("retry-after"), now),
    )
    for wish in wishes:
        if wish is not None:
            return _positive(wish)
    return _longest_reset(headers, now)


def duration_s(text: str) -> float | None:
    """Read a duration as providers write it: `1m30s`, `250ms`, `6h`."""
    compact = text.strip().lower()
    if not 0 < len(compact) <= _MAX_DURATION_CHARACTERS or _PART.sub("", compact):
        return None
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in _PART.findall(compact))


def _milliseconds(value: str | None) -> float | None:
    milliseconds = number(value)
    return None if milliseconds is None else milliseconds / 1000


def _seconds_or_date(value: str | None, now: datetime) -> float | None:
    seconds = number(value)
    if value is None or seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _until(moment, now)


def _longest_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    """Of the budgets that are used up, the last to be full again."""
    waits = []
    for names, unit in _BUDGETS:
        if number(headers.get(names.name(unit, "remaining"))) != 0:
            continue
        wait = _positive(reset_s(headers.get(names.name(unit, "reset"), ""), now))
        if wait is not None:
            waits.append(wait)
    return max(waits, default=None)


def reset_s(value: str, now: datetime) -> float | None:
    """Read a reset header: a duration, a number of seconds, or an ISO 8601 moment."""
    duration = duration_s(value)
    if duration is not None:
        return duration
    seconds = number(value)
    if seconds is not None:
        return seconds
    try:
        return _until(datetime.fromisoformat(value), now)
    except ValueError:
        return None


def _until(moment: datetime, now: datetime) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()


def number(value: str | None) -> float | None:
    """Read a header that is a number; None for what is none."""
    try:
        parsed = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(parsed) else parsed


def _positive(wish: float | None) -> float | None:
    return wish if wish is not None and wish > 0 else None
