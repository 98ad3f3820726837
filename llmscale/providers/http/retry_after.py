"""How long a provider asks to be left alone, from the headers of its answer.

Understands `retry-after-ms`, `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3), and
the reset headers of OpenAI (`1m30s`, `250ms`) and Anthropic (an ISO 8601 moment). Anything that is
not a time in the future is no wish at all.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from llmscale.providers.registry import LIMIT_HEADERS

_MOMENTS_S = (1e9, 1e10)  # seconds since 1970 that are a moment: 2001 to 2286
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DURATION_CHARACTERS = 64  # the pattern takes the square of the length on what is none
_BUDGETS = [(names, unit) for names in LIMIT_HEADERS for unit in names.units]
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")

_MAX_BODY_BYTES, _MAX_LEVEL, _MAX_ITEMS = 65_536, 6, 50
_DELAY_FIELDS = {
    "retryDelay": 1.0,  # Google's RetryInfo
    "retry_delay": 1.0,
    "retry_after": 1.0,
    "retryAfter": 1.0,
    "retry-after": 1.0,
    "retry_after_seconds": 1.0,
    "retryAfterSeconds": 1.0,
    "retry_after_ms": 0.001,
    "retryAfterMs": 0.001,
}
_UNITS = r"milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d"
_AMOUNT = rf"\d+(?:\.\d+)?\s?(?:{_UNITS})\b"
_AMOUNTS = rf"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+\b|{_AMOUNT}(?:(?:,| and|, and)? {_AMOUNT}){{0,3}}"
_SENTENCE = re.compile(
    rf"(?:try(?:ing)? again|retry|retrying|wait|reset|resets|available)[^.\n\d]{{0,40}}?\b"
    rf"(?:in|after|for|at least|within)?\s*(?:about |approximately )?({_AMOUNTS})"
)
_WORD_PART = re.compile(rf"(\d+(?:\.\d+)?)\s?({_UNITS})")
_UNIT_OF_WORD = {
    **dict.fromkeys(("millisecond", "milliseconds", "msec", "msecs", "ms"), 0.001),
    **dict.fromkeys(("second", "seconds", "sec", "secs", "s"), 1.0),
    **dict.fromkeys(("minute", "minutes", "min", "mins", "m"), 60.0),
    **dict.fromkeys(("hour", "hours", "hr", "hrs", "h"), 3600.0),
    **dict.fromkeys(("day", "days", "d"), 86400.0),
}


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


def retry_after_in_body_s(body: bytes) -> float | None:
    """Return the seconds to wait that an error names in its body, None where it names none.

    `retryDelay` of Google's RetryInfo, fields such as `retry_after`, and sentences: "Please try
    again in 12.5s", "retry after 20 seconds", "in 1 minute and 30 seconds".
    """
    if len(body) > _MAX_BODY_BYTES:
        return None
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    wish_s = _in_fields(parsed, 0)
    if wish_s is None:
        wish_s = _in_words(body.decode(errors="replace"))
    return _positive(wish_s)


def _in_fields(value: Any, level: int) -> float | None:
    if level > _MAX_LEVEL:
        return None
    if isinstance(value, list):
        return _first(_in_fields(item, level + 1) for item in value[:_MAX_ITEMS])
    if not isinstance(value, dict):
        return None
    for name, scale in _DELAY_FIELDS.items():
        seconds = _delay(value.get(name))
        if seconds is not None:
            return seconds * scale
    return _first(_in_fields(inner, level + 1) for inner in list(value.values())[:_MAX_ITEMS])


def _delay(value: Any) -> float | None:
    """Read a delay: 43, "43", "43s", {"seconds": 43, "nanos": 0}."""
    if isinstance(value, dict):
        seconds, nanos = value.get("seconds", 0), value.get("nanos", 0)
        whole = number(str(seconds)), number(str(nanos))
        return None if None in whole else (whole[0] or 0.0) + (whole[1] or 0.0) / 1e9
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    seconds = number(str(value))
    return duration_s(str(value)) if seconds is None else seconds


def _in_words(text: str) -> float | None:
    found = _SENTENCE.search(text.lower())
    if found is None:
        return None
    parts = _WORD_PART.findall(found[1])
    return sum(float(amount) * _UNIT_OF_WORD[unit] for amount, unit in parts)


def _first(wishes: Iterable[float | None]) -> float | None:
    return next((wish for wish in wishes if wish is not None), None)


def _milliseconds(value: str | None) -> float | None:
    milliseconds = number(value)
    return None if milliseconds is None else milliseconds / 1000


def _seconds_or_date(value: str | None, now: datetime) -> float | None:
    seconds = number(value)
    if value is None or seconds is not None:
        return seconds if seconds is None else _since_epoch(seconds, now)
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
    """Read a reset header: a duration, a number of seconds, or a moment.

    A moment is ISO 8601, or seconds or milliseconds since 1970: no wait is thirty years long.
    """
    duration = duration_s(value)
    if duration is not None:
        return duration
    seconds = number(value)
    if seconds is not None:
        return _since_epoch(seconds, now)
    try:
        return _until(datetime.fromisoformat(value), now)
    except ValueError:
        return None


def _since_epoch(seconds: float, now: datetime) -> float:
    """Return seconds from now, of a number that may be the seconds or milliseconds of a moment."""
    for scale in (1, 1000):
        first, last = (scale * moment_s for moment_s in _MOMENTS_S)
        if first <= seconds < last:
            return seconds / scale - now.timestamp()
    return seconds


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
