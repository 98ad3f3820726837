"""P04: what a provider asks for in its headers, as a table, and that no header can break it.

How much of a huge wish is granted, and the warning, are the balance's: tests/engine/balance.
"""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.providers.http.retry_after import (
    duration_s,
    reset_s,
    retry_after_in_body_s,
    retry_after_s,
)

NOW = datetime(2026, 2, 3, 12, 0, 0, tzinfo=UTC)


def http_date(seconds_from_now: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds_from_now), usegmt=True)


def iso(seconds_from_now: float) -> str:
    return (NOW + timedelta(seconds=seconds_from_now)).isoformat().replace("+00:00", "Z")


def wish(**headers: str) -> float | None:
    """Return the wish of headers written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return retry_after_s(named, NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.25", 0.25),
        ("1e1", 10.0),
        (http_date(30), 30.0),
        ("Tue, 03 Feb 2026 12:01:00 GMT", 60.0),
        ("Tue, 03 Feb 2026 13:01:00 +0100", 60.0),
        ("Tuesday, 03-Feb-26 12:01:00 GMT", 60.0),  # RFC 850, which RFC 9110 still allows
        ("Tue Feb  3 12:01:00 2026", 60.0),  # asctime, likewise
    ],
)
def test_retry_after_is_seconds_or_an_http_date(value: str, seconds: float) -> None:
    assert wish(retry_after=value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *("0", "0.0", "-0", "-5", "-inf"),
        *(http_date(0), http_date(-1), http_date(-86_400), "Thu, 01 Jan 1970 00:00:00 GMT"),
    ],
)
def test_retry_after_of_zero_or_less_or_in_the_past_is_no_wish(value: str) -> None:
    assert wish(retry_after=value) is None


@pytest.mark.parametrize(
    "value",
    ["", " ", "soon", "nan", "7 seconds", "1,5", "0x10", "--3", "Tue, 99 Foo 2026", "\x00", "٧٧ s"],
)
def test_garbage_is_no_wish(value: str) -> None:
    assert wish(retry_after=value) is None
    assert wish(retry_after_ms=value) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3599.5", 3_599.5),
        ("86400", 86_400.0),
        ("1e300", 1e300),
        ("inf", math.inf),
        ("9" * 400, math.inf),
        (http_date(7_200), 7_200.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_632_180_799.0),
    ],
)
def test_a_huge_wait_is_passed_on_as_it_is(value: str, seconds: float) -> None:
    assert wish(retry_after=value) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1500", 1.5), ("250", 0.25), ("0", None), ("-1", None), ("1e12", 1e9)],
)
def test_retry_after_ms_is_in_milliseconds(value: str, seconds: float | None) -> None:
    assert wish(retry_after_ms=value) == seconds


def test_the_finer_header_goes_first() -> None:
    assert wish(retry_after="2", retry_after_ms="1500") == 1.5
    assert wish(retry_after="2", retry_after_ms="soon") == 2.0


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1m30s", 90.0),
        ("250ms", 0.25),
        ("6m0s", 360.0),
        ("1h2m3s", 3_723.0),
        ("1.5s", 1.5),
        ("6H", 21_600.0),
        ("1d", 86_400.0),
        ("12", 12.0),
        (iso(45), 45.0),
        ("0s", None),
        (iso(-45), None),
        ("", None),
        ("s", None),
        ("soon", None),
        ("nan", None),
        ("5 parsecs", None),
    ],
)
@pytest.mark.parametrize("budget", ["requests", "tokens"])
def test_a_used_up_budget_of_openai_asks_until_its_reset(
    budget: str, reset: str, seconds: float | None
) -> None:
    headers = {f"x-ratelimit-remaining-{budget}": "0", f"x-ratelimit-reset-{budget}": reset}
    assert retry_after_s(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        (iso(20), 20.0),
        ("2026-02-03T12:00:20+00:00", 20.0),
        ("2026-02-03T13:00:20+01:00", 20.0),
        ("2026-02-03T12:00:20", 20.0),  # no zone: UTC
        (iso(90_000), 90_000.0),
        (iso(0), None),
        (iso(-20), None),
        ("2026-02-03T99:00:00Z", None),
    ],
)
@pytest.mark.parametrize("budget", ["requests", "tokens", "input-tokens", "output-tokens"])
def test_a_used_up_budget_of_anthropic_asks_until_its_reset(
    budget: str, reset: str, seconds: float | None
) -> None:
    headers = {
        f"anthropic-ratelimit-{budget}-remaining": "0",
        f"anthropic-ratelimit-{budget}-reset": reset,
    }
    assert retry_after_s(headers, NOW) == seconds


@pytest.mark.parametrize("remaining", ["1", "149984", "0.5", "", "none", "nan"])
def test_a_budget_that_is_not_used_up_asks_for_nothing(remaining: str) -> None:
    headers = {"x-ratelimit-remaining-tokens": remaining, "x-ratelimit-reset-tokens": "1m30s"}
    assert retry_after_s(headers, NOW) is None


def test_a_reset_without_a_word_on_what_remains_asks_for_nothing() -> None:
    assert wish(x_ratelimit_reset_tokens="1m30s") is None


def test_of_two_used_up_budgets_the_later_reset_counts() -> None:
    wished = wish(
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="250ms",
        x_ratelimit_remaining_tokens="0",
        x_ratelimit_reset_tokens="1m30s",
    )
    assert wished == 90.0


def test_retry_after_goes_before_the_resets() -> None:
    resets = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "1m30s"}
    assert wish(retry_after="3", **resets) == 3.0
    assert wish(retry_after="soon", **resets) == 90.0
    assert wish(retry_after="0", **resets) is None


def test_no_headers_are_no_wish() -> None:
    assert retry_after_s({}) is None


def test_a_date_is_held_against_the_wall_clock() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=1_000), usegmt=True)
    wished = retry_after_s({"retry-after": soon})
    assert wished is not None
    assert 900 < wished <= 1_000


@pytest.mark.parametrize("text", ["1m 30s", "1m30", "30sx", "m", "-3s", "1.5.5s", "1mss"])
def test_what_is_only_half_a_duration_is_none(text: str) -> None:
    assert duration_s(text) is None


HEADER = st.text(max_size=40) | st.sampled_from(
    ["Tue, 03 Feb 2026 12:01:00 GMT", "2026-02-03T12:00:00Z", "1m30s", "inf", "9" * 5_000]
)


@given(HEADER, HEADER, HEADER)
def test_no_header_whatever_breaks_it(first: str, second: str, third: str) -> None:
    wished = retry_after_s(
        {
            "retry-after-ms": first,
            "retry-after": second,
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": third,
        }
    )
    assert wished is None or wished > 0


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "43s"}]}}, 43.0),
        ([{"error": {"details": [{"retryDelay": "1.5s"}]}}], 1.5),
        ({"error": {"details": [{"retryDelay": {"seconds": 7, "nanos": 500_000_000}}]}}, 7.5),
        ({"error": {"message": "Please try again in 12.5s. Visit us."}}, 12.5),
        ({"error": {"message": "Please try again in 1m30s."}}, 90.0),
        ({"error": {"message": "Try again in 20ms"}}, 0.02),
        ({"message": "Please retry after 20 seconds."}, 20.0),
        ({"message": "Rate limit is exceeded. Try again in 1 minute and 5 seconds."}, 65.0),
        ({"detail": "wait 3 minutes"}, 180.0),
        ({"retry_after": 4.5}, 4.5),
        ({"error": {"retry_after_ms": 250}}, 0.25),
        ({"parameters": {"retryAfter": "6"}}, 6.0),
    ],
)
def test_a_wait_is_read_from_the_body(body: object, seconds: float) -> None:
    assert retry_after_in_body_s(orjson.dumps(body)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"no",
        b'{"error": {"message": "Limit: 3 requests per 20 seconds"}}',
        b'{"retry_after": -1}',
        b'{"retry_after": true}',
        b'{"retryDelay": "soon"}',
    ],
)
def test_a_body_without_a_wait_names_none(body: bytes) -> None:
    assert retry_after_in_body_s(body) is None


@pytest.mark.parametrize("scale", [1, 1000])
def test_a_moment_since_1970_is_no_number_of_seconds(scale: int) -> None:
    moment = (NOW.timestamp() + 30) * scale
    assert reset_s(f"{moment:.0f}", NOW) == pytest.approx(30, abs=1)
