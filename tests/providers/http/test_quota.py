"""What a provider says about its limits: only what is clearly a limit for a minute is used."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.errors import CallFailed
from llmscale.core.records import Quota, Request
from llmscale.providers.anthropic import AnthropicMessages
from llmscale.providers.http.limit_evidence import AGREEING, QuotaEvidence
from llmscale.providers.http.quota import readings_of
from llmscale.providers.openai import OpenAIChat
from tests.servers.chat import ChatServer, Step

NOW = datetime(2026, 2, 3, 12, 0, 0, tzinfo=UTC)


def quota_of(headers: dict[str, str], now: datetime | None = None) -> Quota | None:
    """Return what is believed when answers agree."""
    evidence = QuotaEvidence()
    for _ in range(AGREEING):
        evidence.add(readings_of(headers, now), 0.0, is_admitted=False)
    return evidence.quota


def iso(seconds_from_now: float) -> str:
    return (NOW + timedelta(seconds=seconds_from_now)).isoformat().replace("+00:00", "Z")


def openai(of: str, limit: object, remaining: object, reset: str) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{of}": str(limit),
        f"x-ratelimit-remaining-{of}": str(remaining),
        f"x-ratelimit-reset-{of}": reset,
    }


def anthropic(of: str, limit: object, remaining: object, reset: str) -> dict[str, str]:
    return {
        f"anthropic-ratelimit-{of}-limit": str(limit),
        f"anthropic-ratelimit-{of}-remaining": str(remaining),
        f"anthropic-ratelimit-{of}-reset": reset,
    }


def test_openai_names_what_is_for_a_minute() -> None:
    headers = openai("requests", 500, 499, "120ms") | openai("tokens", 200_000, 190_000, "3s")
    assert quota_of(headers, NOW) == Quota(requests_per_min=500, tokens_per_min=200_000)


def test_requests_a_day_beside_tokens_a_minute_are_left_out() -> None:
    """As Groq has them."""
    headers = openai("requests", 14_400, 14_370, "2m59.56s")
    headers |= openai("tokens", 18_000, 17_997, "10ms")
    assert quota_of(headers, NOW) == Quota(tokens_per_min=18_000)
    day_alone = openai("requests", 10_000, 9_999, "8.64s")
    assert quota_of(day_alone, NOW) is None


def test_anthropic_names_moments() -> None:
    headers = anthropic("requests", 50, 10, iso(48)) | anthropic("tokens", 80_000, 40_000, iso(30))
    assert quota_of(headers, NOW) == Quota(requests_per_min=50, tokens_per_min=80_000)


def test_a_moment_that_is_too_near_says_too_little() -> None:
    """It is named to the second: with one of fifty taken, a minute can't be told from a second."""
    assert quota_of(anthropic("requests", 50, 49, iso(1)), NOW) is None
    assert quota_of(anthropic("requests", 50, 40, iso(12)), NOW) == Quota(requests_per_min=50)


def test_nothing_left_is_the_clearest() -> None:
    assert quota_of(openai("requests", 60, 0, "1m0s"), NOW) == Quota(requests_per_min=60)


def test_nothing_taken_says_nothing_of_the_time() -> None:
    assert quota_of(openai("requests", 60, 60, "0s"), NOW) is None
    assert quota_of(openai("requests", 60, 61, "1s"), NOW) is None


@pytest.mark.parametrize(
    ("reset", "is_minute"),
    [
        ("49s", False),
        ("50s", True),
        ("60s", True),
        ("60", True),
        ("1m0s", True),
        ("75s", True),
        ("76s", False),
        ("1s", False),
        ("1h0m0s", False),
        ("24h0m0s", False),
    ],
)
def test_only_what_is_clearly_a_minute_is_used(reset: str, is_minute: bool) -> None:
    found = quota_of(openai("tokens", 1_000, 0, reset), NOW)
    assert found == (Quota(tokens_per_min=1_000) if is_minute else None)


@pytest.mark.parametrize("missing", ["limit", "remaining", "reset"])
def test_a_part_that_is_missing_makes_the_rest_useless(missing: str) -> None:
    headers = openai("requests", 60, 30, "30s")
    del headers[f"x-ratelimit-{missing}-requests"]
    assert quota_of(headers, NOW) is None
    beside = headers | openai("tokens", 6_000, 3_000, "30s")
    assert quota_of(beside, NOW) == Quota(tokens_per_min=6_000)


@pytest.mark.parametrize(
    ("limit", "remaining", "reset"),
    [
        ("many", "1", "30s"),
        ("60", "some", "30s"),
        ("60", "30", "soon"),
        ("60", "30", ""),
        ("60", "30", "-30s"),
        ("60", "30", "nan"),
        ("60", "30", "inf"),
        ("60", "-1", "60s"),
        ("nan", "nan", "60s"),
        ("inf", "0", "60s"),
        ("inf", "inf", "60s"),
        ("0", "0", "60s"),
        ("-60", "-120", "60s"),
        ("0.5", "0", "60s"),
        ("1e400", "0", "60s"),
    ],
)
def test_garbage_is_no_quota(limit: str, remaining: str, reset: str) -> None:
    assert quota_of(openai("requests", limit, remaining, reset), NOW) is None


def test_a_huge_limit_is_one() -> None:
    found = quota_of(openai("tokens", 10**12, 5 * 10**11, "30s"), NOW)
    assert found == Quota(tokens_per_min=1e12)


def test_no_headers_are_no_quota() -> None:
    assert quota_of({}, NOW) is None
    assert quota_of({"content-type": "application/json"}) is None


HEADER = st.text(max_size=20) | st.sampled_from(
    ["60", "30", "0", "30s", "1m0s", "inf", "nan", "-1", "1e308", "5e-324", iso(30), "9" * 5_000]
)
NAMES = [*openai("requests", 0, 0, ""), *openai("tokens", 0, 0, "")]
NAMES += [*anthropic("requests", 0, 0, ""), *anthropic("tokens", 0, 0, "")]


@given(st.dictionaries(st.sampled_from(NAMES), HEADER))
def test_no_headers_whatever_break_it_or_make_a_limit_of_nothing(headers: dict[str, str]) -> None:
    found = quota_of(headers, NOW)
    if found is not None:
        for limit in (found.requests_per_min, found.tokens_per_min):
            assert limit is None or 1 <= limit < float("inf")


def provider(name: str, base_url: str) -> Any:
    if name == "openai":
        return OpenAIChat(base_url)
    return AnthropicMessages(base_url, "sk-test")


@pytest.mark.parametrize("named", ["openai", "anthropic"])
async def test_a_provider_keeps_what_was_said_last_in_answers_and_in_refusals(named: str) -> None:
    request = Request(model="openai/m", messages=[{"role": "user", "content": "hello"}])
    said = [openai("requests", 60, 30, "30s"), {}, openai("requests", 90, 45, "30s")]
    async with ChatServer() as server:
        one = provider(named, server.base_url)
        assert one.quota is None
        seen: list[Quota | None] = []
        for headers, status in zip(said, (200, 200, 429), strict=True):
            server.script([Step(status=status, headers=headers)])
            with suppress(CallFailed):  # the server speaks OpenAI's language only
                await one.send((request,))
            seen.append(one.quota)
        await one.aclose()
    assert seen == [Quota(requests_per_min=60)] * 2 + [Quota(requests_per_min=90)]
