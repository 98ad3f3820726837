"""What a provider says about its limits in the headers of an answer (`registry.LIMIT_HEADERS`).

The headers name a limit, what is left of it and when it will be whole again, and not the time that
it is for: a minute with one provider, a day with another. That time follows from the other three;
`limit_evidence` decides what to believe.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple

from llmscale.providers.http.retry_after import number, reset_s
from llmscale.providers.registry import LIMIT_HEADERS, LimitHeaders

_MINUTE_S = (50.0, 75.0)  # what is taken for a minute
_MIN_ISO_S = 5.0  # a moment is named to the second, which says little of a short time
_SIGNS = [
    (names, [names.name(unit, "limit") for unit in ("requests", "tokens")])
    for names in LIMIT_HEADERS
]


class QuotaReading(NamedTuple):
    """One limit, as the headers of one answer have it."""

    limit: float
    used: float  # of the limit
    whole_in_s: float  # the seconds until nothing of it is used

    @property
    def is_minute(self) -> bool:
        """Tell whether it may be a limit a minute, refilled all the time or at once."""
        shortest_s, longest_s = _MINUTE_S
        return shortest_s <= self.whole_in_s * self.limit / self.used <= longest_s


class Readings(NamedTuple):
    """The limits that one answer names. None: none, or none that is clear."""

    requests: QuotaReading | None = None
    tokens: QuotaReading | None = None


def readings_of(headers: Mapping[str, str], now: datetime | None = None) -> Readings:
    """Return the limits that headers name.

    `headers` is case-insensitive or has lower-case names. `now` is the wall clock, for tests.
    """
    names = next((names for names, signs in _SIGNS if any(sign in headers for sign in signs)), None)
    if names is None:
        return Readings()
    now = now or datetime.now(UTC)
    return Readings(
        _reading(headers, names, "requests", now), _reading(headers, names, "tokens", now)
    )


def _reading(
    headers: Mapping[str, str], names: LimitHeaders, unit: str, now: datetime
) -> QuotaReading | None:
    limit = number(headers.get(names.name(unit, "limit")))
    left = number(headers.get(names.name(unit, "remaining")))
    reset = headers.get(names.name(unit, "reset"), "")
    whole_in_s = reset_s(reset, now)
    if limit is None or left is None or whole_in_s is None:
        return None
    if not 1 <= limit < inf or not 0 <= left < limit:
        return None
    if ":" in reset and whole_in_s < _MIN_ISO_S:
        return None
    return QuotaReading(limit, limit - left, whole_in_s)
