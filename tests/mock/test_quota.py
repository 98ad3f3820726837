"""Limits: in no 60 s more than they allow, headers that say so, refusals that ask for enough.

The time is virtual: the clock is set, nothing waits.
"""

from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.mock.quota import PERIOD_S, Window, duration, retry_after_lines
from llmscale.providers.http.limit_evidence import QuotaEvidence
from llmscale.providers.http.quota import readings_of
from llmscale.providers.http.retry_after import retry_after_s
from tests.mock.client import EMBEDDINGS, HELLO, Client, Served, serving

HELLO_TOKENS = 6 + 5

# times that floats hold exactly, so that what is judged is the rule and no rounding
GAPS_S = st.sampled_from([0.0, 0.0, 1 / 64, 0.25, 1.0, 7.5, 29.75, 30.0, 59.75, 60.0, 61.0])
CALLS = st.lists(st.tuples(GAPS_S, st.integers(1, 60)), max_size=80)


def most_in_a_minute(through: list[tuple[float, int]]) -> tuple[int, int]:
    """Return the most calls, and the most tokens, that any 60 s hold."""
    ends = [
        [tokens for at_s, tokens in through if first_s <= at_s < first_s + PERIOD_S]
        for first_s, _ in through
    ]
    return max(map(len, ends), default=0), max(map(sum, ends), default=0)


@given(calls=CALLS, rpm=st.integers(1, 20), tpm=st.integers(1, 200))
def test_no_60_s_hold_more_than_the_limits_and_no_call_is_refused_without_need(
    calls: list[tuple[float, int]], rpm: int, tpm: int
) -> None:
    window = Window()
    through: list[tuple[float, int]] = []
    for now_s, (_, tokens) in zip(accumulate(gap for gap, _ in calls), calls, strict=True):
        refused = window.exceeded_requests(rpm, now_s) or window.exceeded_tokens(tpm, tokens, now_s)
        last = [spent for at_s, spent in through if at_s > now_s - PERIOD_S]
        assert bool(refused) == (len(last) >= rpm or sum(last) + tokens > tpm)
        if not refused:
            window.add(tokens, now_s)
            through.append((now_s, tokens))
    most_calls, max_call_tokens = most_in_a_minute(through)
    assert most_calls <= rpm
    assert max_call_tokens <= tpm


@given(calls=CALLS, tokens=st.integers(1, 200), rpm=st.integers(1, 20), tpm=st.integers(1, 200))
def test_a_refusal_names_the_time_until_the_limit_allows_a_call_and_no_longer(
    calls: list[tuple[float, int]], tokens: int, rpm: int, tpm: int
) -> None:
    window = Window()
    now_s = 0.0
    for gap_s, spent in calls:  # more than the limits allow: a phase may have lowered them
        now_s += gap_s
        window.add(spent, now_s)
    requests = window.exceeded_requests(rpm, now_s)
    if requests:
        assert window.exceeded_requests(rpm, now_s + requests.wait_s - 1 / 128)
        assert not window.exceeded_requests(rpm, now_s + requests.wait_s)
    of_tokens = window.exceeded_tokens(tpm, tokens, now_s)
    if of_tokens and tokens <= tpm:
        later_s = now_s + of_tokens.wait_s
        assert not window.exceeded_tokens(tpm, tokens, later_s)
    elif of_tokens:
        assert of_tokens.wait_s == float("inf")


async def asked_until(served: Served, client: Client, end_s: float, step_s: float) -> list[float]:
    """Ask at every step of the clock; return when there was an answer."""
    answered = []
    while served.clock.now_s < end_s:
        response = await client.ask()
        if response.status == 200:
            answered.append(served.clock.now_s)
        else:
            assert response.status == 429
        served.clock.now_s += step_s
    return answered


async def test_over_the_wire_no_60_s_hold_more_than_rpm() -> None:
    async with serving(rpm=7) as served:
        client = await served.connect()
        start_s = served.clock.now_s
        answered = await asked_until(served, client, start_s + 200, 0.75)
    most, _ = most_in_a_minute([(at_s, 0) for at_s in answered])
    assert most == 7
    assert len(answered) == 4 * 7  # of each minute that began


async def test_tokens_that_are_counted_are_those_of_the_answers() -> None:
    async with serving(tpm=HELLO_TOKENS * 3) as served:
        client = await served.connect()
        responses = [await client.ask() for _ in range(4)]
    assert [response.status for response in responses] == [200, 200, 200, 429]
    told = sum(response.json["usage"]["total_tokens"] for response in responses[:3])
    assert told == HELLO_TOKENS * 3
    assert "tokens per min (TPM): Limit 33, Used 33" in responses[3].json["error"]["message"]


async def test_every_answer_has_the_headers_of_the_limits_that_there_are() -> None:
    async with serving(rpm=600, tpm="10000/min") as served:
        client = await served.connect()
        responses = [
            await client.ask(),
            await client.ask({"model": "m", "input": "abcd"}, EMBEDDINGS),
            await client.ask(b"{"),
            await client.ask(b"", "/v1/models", method="GET"),
        ]
    first, second, *others = (response.headers for response in responses)
    assert first["x-ratelimit-limit-requests"] == "600"
    assert first["x-ratelimit-remaining-requests"] == "599"
    assert first["x-ratelimit-reset-requests"] == "100ms"
    assert first["x-ratelimit-limit-tokens"] == "10000"
    assert first["x-ratelimit-remaining-tokens"] == str(10_000 - HELLO_TOKENS)
    assert first["x-ratelimit-reset-tokens"] == "66ms"
    assert second["x-ratelimit-remaining-tokens"] == str(10_000 - HELLO_TOKENS - 1)
    for headers in others:  # no question, no quota
        assert headers["x-ratelimit-remaining-requests"] == "598"


async def test_without_limits_there_are_no_such_headers() -> None:
    async with serving() as served:
        response = await (await served.connect()).ask()
    assert list(response.headers) == ["content-type", "content-length"]


async def test_the_tool_learns_the_limits_from_the_headers() -> None:
    async with serving(rpm=600, tpm=10_000) as served:
        client = await served.connect()
        responses = [await client.ask() for _ in range(5)]
    evidence = QuotaEvidence()
    for response in responses:
        evidence.add(readings_of(response.headers), 0.0, is_admitted=True)
    quota = evidence.quota
    assert quota is not None
    assert quota.requests_per_min == 600
    assert quota.tokens_per_min == 10_000


async def test_a_429_names_the_time_until_the_limit_allows_a_call() -> None:
    async with serving(rpm=1) as served:
        client = await served.connect()
        await client.ask()
        served.clock.now_s += 12.75
        refused = await client.ask()
        assert refused.headers["retry-after"] == "48"
        assert refused.headers["retry-after-ms"] == "47250"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.headers["x-ratelimit-reset-requests"] == "1m0s"
        assert refused.json["error"]["code"] == "rate_limit_exceeded"
        assert retry_after_s(refused.headers) == 47.25
        served.clock.now_s += 47.25
        assert (await client.ask()).status == 200


async def test_a_429_names_the_time_that_is_set() -> None:
    async with serving(rpm=1, retry_after=0.25) as served:
        client = await served.connect()
        await client.ask()
        refused = await client.ask()
    assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("1", "250")


async def test_a_call_that_is_larger_than_a_minute_is_refused_for_good() -> None:
    async with serving(tpm=HELLO_TOKENS - 1) as served:
        refused = await (await served.connect()).ask()
    assert refused.status == 429
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert "Request too large" in refused.json["error"]["message"]


async def test_refused_calls_take_no_quota_and_failed_ones_do() -> None:
    async with serving(rpm=2, error_rate=1) as served:
        client = await served.connect()
        statuses = [(await client.ask()).status for _ in range(5)]
        served.clock.now_s += 60
        statuses.append((await client.ask()).status)
    assert statuses == [500, 500, 429, 429, 429, 500]


async def test_a_limit_of_one_model_counts_the_calls_of_that_model(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[[phase]]\nmodel = "small"\nrpm = 1\n')
    async with serving(file=file, rpm=3) as served:
        client = await served.connect()
        models = ["small", "small", "m", "m", "m"]
        statuses = [(await client.ask({**HELLO, "model": model})).status for model in models]
    assert statuses == [200, 429, 200, 200, 429]


@pytest.mark.parametrize(
    ("wait_s", "text"),
    [(0, "0ms"), (0.0001, "1ms"), (0.25, "250ms"), (1.5, "1.5s"), (59.9999, "1m0s"), (90, "1m30s")],
)
def test_a_time_is_written_as_openai_writes_it(wait_s: float, text: str) -> None:
    assert duration(wait_s) == text


def test_whole_seconds_are_never_less_than_what_is_meant() -> None:
    assert retry_after_lines(0.0) == "retry-after: 0\r\nretry-after-ms: 0\r\n"
    assert retry_after_lines(2.001) == "retry-after: 3\r\nretry-after-ms: 2001\r\n"
