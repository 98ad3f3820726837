"""What a provider says about its limits in the headers of an answer (`registry.LIMIT_HEADERS`).

The headers name a limit, what is left of it and when it will be whole again, and not the time that
it is for: a minute with one provider, a day with another. That time is worked out from the other
three, and a limit that is not clearly one a minute is not used.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from llmscale.core.records import Quota
from llmscale.providers.http.retry_after import number, reset_s
from llmscale.providers.registry import LIMIT_HEADERS, LimitHeaders

_MINUTE_S = (50.0, 75.0)  # what is taken for a minute
_MIN_ISO_S = 5.0  # a moment is named to the second, which says little of a short time
_SIGNS = [
    (names, [names.name(unit, "limit") for unit in ("requests", "tokens")])
    for names in LIMIT_HEADERS
]


def quota_of(headers: Mapping[str, str], now: datetime | None = None) -> Quota | None:
    """Return the limits a minute; None where the headers name none, or none that is clear.

    `headers` is case-insensitive or has lower-case names. `now` is the wall clock, for tests.
    """
    names = next((names for names, signs in _SIGNS if any(sign in headers for sign in signs)), None)
    if names is None:
        return None
    now = now or datetime.now(UTC)
    requests = _per_minute(headers, names, "requests", now)
    tokens = _per_minute(headers, names, "tokens", now)
    if requests is None and tokens is None:
        return None
    return Quota(requests_per_min=requests, tokens_per_min=tokens)


def _per_minute(
    headers: Mapping[str, str], names: LimitHeaders, unit: str, now: datetime
) -> float | None:
    limit = number(headers.get(names.name(unit, "limit")))
    left = number(headers.get(names.name(unit, "remaining")))
    reset = headers.get(names.name(unit, "reset"), "")
    whole_in_s = reset_s(reset, now)
    if limit is None or left is None or whole_in_s is None:
        return None
    if limit < 1 or not 0 <= left < limit:
        return None
    if ":" in reset and whole_in_s < _MIN_ISO_S:
        return None
    period_s = whole_in_s * limit / (limit - left)
    return limit if _MINUTE_S[0] <= period_s <= _MINUTE_S[1] else None
