"""P06 and P07: status and body to one failure, as a table."""

from collections.abc import Mapping

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.records import Failure, FailureKind, Reply, Usage
from llmscale.providers.http.failures import (
    MAX_MESSAGE_CHARACTERS,
    bad_response,
    failure_in_success,
    failure_of_response,
    one_line,
)


def error_body(message: str = "no", **fields: object) -> bytes:
    return orjson.dumps({"error": {"message": message, **fields}})


def failure_of(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Failure:
    return failure_of_response(status, headers or {}, body)


STATUSES: list[tuple[int, FailureKind, bool, bool]] = [
    (204, "invalid_request", False, False),
    (302, "invalid_request", False, False),
    (307, "invalid_request", False, False),
    (400, "invalid_request", False, False),
    (401, "unauthorized", False, True),
    (402, "quota_exhausted", False, True),
    (403, "unauthorized", False, True),
    (404, "model_not_found", False, False),
    (405, "invalid_request", False, False),
    (408, "timeout", True, False),
    (409, "server_error", True, False),
    (413, "invalid_request", False, False),
    (422, "invalid_request", False, False),
    (425, "rate_limited", True, False),
    (429, "rate_limited", True, False),
    (500, "server_error", True, False),
    (502, "server_error", True, False),
    (503, "overloaded", True, False),
    (504, "server_error", True, False),
    (529, "overloaded", True, False),
    (599, "server_error", True, False),
]


@pytest.mark.parametrize(("status", "kind", "retryable", "stops_job"), STATUSES)
def test_a_status_says_what_failed_and_whether_to_try_again(
    status: int, kind: FailureKind, retryable: bool, stops_job: bool
) -> None:
    failure = failure_of(status, error_body("as scripted"))
    assert (failure.kind, failure.retryable, failure.stops_job) == (kind, retryable, stops_job)
    assert failure.status == status
    assert failure.message == f"HTTP {status}: as scripted"


# The bodies as the providers send them.
BODIES: list[tuple[str, int, bytes, FailureKind, bool]] = [
    (
        "OpenAI, no quota",
        429,
        error_body("You exceeded your current quota", type="insufficient_quota"),
        "quota_exhausted",
        True,
    ),
    (
        "OpenAI, hard limit",
        400,
        error_body("Billing hard limit has been reached", code="billing_hard_limit_reached"),
        "quota_exhausted",
        True,
    ),
    (
        "Anthropic, no credit",
        400,
        error_body("Your credit balance is too low to access the Anthropic API"),
        "quota_exhausted",
        True,
    ),
    (
        "OpenAI, context",
        400,
        error_body("too long", code="context_length_exceeded"),
        "context_length",
        False,
    ),
    (
        "vLLM, context",
        400,
        error_body("This model's maximum context length is 2048 tokens."),
        "context_length",
        False,
    ),
    (
        "llama.cpp, context",
        400,
        error_body("request exceeds", type="exceed_context_size_error"),
        "context_length",
        False,
    ),
    (
        "Anthropic, context",
        413,
        error_body("prompt is too long: 210000 tokens > 200000 maximum"),
        "context_length",
        False,
    ),
    (
        "Azure, filter",
        400,
        error_body("filtered", innererror={"code": "ResponsibleAIPolicyViolation"}),
        "content_filter",
        False,
    ),
    ("OpenAI, filter", 400, error_body("no", code="content_filter"), "content_filter", False),
    (
        "OpenAI, policy",
        403,
        error_body("no", code="content_policy_violation"),
        "content_filter",
        False,
    ),
    (
        "FastAPI, context",
        422,
        b'{"detail": "This model\'s maximum context length is 2048 tokens."}',
        "context_length",
        False,
    ),
    ("plain text", 400, b"maximum context length is 4096", "context_length", False),
    (
        "TEI, context",
        413,
        b'{"error":"Input validation error: `inputs` must have less than 512 tokens. Given: 600",'
        b'"error_type":"Validation"}',
        "context_length",
        False,
    ),
    (
        "Ollama, context",
        400,
        b'{"error": "input length exceeds maximum context length"}',
        "context_length",
        False,
    ),
    (
        "llama.cpp, embeddings",
        500,
        error_body("input is too large to process. increase the physical batch size", code=500),
        "context_length",
        False,
    ),
    (
        "Anthropic, usage limit",
        400,
        error_body("You have reached your specified API usage limits.", type="invalid_request"),
        "quota_exhausted",
        True,
    ),
    (
        "OpenAI, never fits",
        429,
        error_body("Request too large for gpt-4 on TPM: Limit 10000, Requested 22,222."),
        "context_length",
        False,
    ),
    (
        "OpenRouter, flagged",
        403,
        error_body("Your input was refused", code=403, metadata={"reasons": ["violence"]}),
        "content_filter",
        False,
    ),
]


@pytest.mark.parametrize(
    ("status", "body", "kind", "stops_job"), [b[1:] for b in BODIES], ids=[b[0] for b in BODIES]
)
def test_the_words_of_the_body_go_before_the_status(
    status: int, body: bytes, kind: FailureKind, stops_job: bool
) -> None:
    failure = failure_of(status, body)
    assert (failure.kind, failure.stops_job, failure.retryable) == (kind, stops_job, False)


@pytest.mark.parametrize("status", [400, 422, 429])
@pytest.mark.parametrize("prompt", ["insufficient_quota", "content_filter", "prompt is too long"])
def test_a_prompt_that_is_quoted_in_an_error_does_not_decide_what_the_error_is(
    status: int, prompt: str
) -> None:
    for body in (
        {"detail": [{"type": "missing", "loc": ["body"], "input": {"content": prompt}}]},
        {"error": {"message": "bad value", "param": prompt, "request": {"content": prompt}}},
    ):
        assert failure_of(status, orjson.dumps(body)).kind == failure_of(status).kind


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_words_do_not_outweigh_a_status_that_is_clear(status: int) -> None:
    plain = failure_of(status)
    assert failure_of(status, error_body(code="context_length_exceeded")).kind == plain.kind


@pytest.mark.parametrize(
    ("status", "hint", "retryable"),
    [
        (500, "false", False),
        (429, "false", False),
        (400, "true", True),
        (409, "true", True),
        (401, "true", False),  # what stops the job is never tried again
        (402, "true", False),
        (500, "maybe", True),
        (400, "maybe", False),
        (400, "", False),
    ],
)
def test_x_should_retry_is_obeyed_but_where_the_job_stops(
    status: int, hint: str, retryable: bool
) -> None:
    assert failure_of(status, headers={"x-should-retry": hint}).retryable is retryable


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (503, {"retry-after-ms": "1500"}, 1.5),
        (500, {}, None),
        (400, {"retry-after": "7"}, None),  # not tried again, so nothing to wait for
        (401, {"retry-after": "7"}, None),
        (429, {"retry-after": "7", "x-should-retry": "false"}, None),
    ],
)
def test_only_what_is_tried_again_has_a_time_to_wait(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    assert failure_of(status, headers=headers).retry_after_s == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "HTTP 500"),
        (b"  \n ", "HTTP 500"),
        (b'{"error": {"message": "two\\n  lines"}}', "HTTP 500: two lines"),
        (b'{"error": "as text"}', "HTTP 500: as text"),
        (b'{"message": "at the top"}', "HTTP 500: at the top"),
        (b'"only text"', "HTTP 500: only text"),
        (b'{"error": {"message": 5}}', 'HTTP 500: {"error": {"message": 5}}'),
        (b'{"error": null}', 'HTTP 500: {"error": null}'),
        (b'["list"]', 'HTTP 500: ["list"]'),
        (b"<html>\n<h1>Bad gateway</h1>", "HTTP 500: <html> <h1>Bad gateway</h1>"),
        (b"\xff\xfe", "HTTP 500: \ufffd\ufffd"),
    ],
)
def test_the_message_is_the_providers_own_in_one_line(body: bytes, message: str) -> None:
    assert failure_of(500, body).message == message


def test_a_long_message_is_cut() -> None:
    message = failure_of(500, error_body("x" * 10_000)).message
    assert message == "HTTP 500: " + "x" * MAX_MESSAGE_CHARACTERS + "..."
    assert one_line("x" * MAX_MESSAGE_CHARACTERS) == "x" * MAX_MESSAGE_CHARACTERS


@pytest.mark.parametrize(
    ("error", "kind", "status", "retryable"),
    [
        ({"message": "no", "code": 429}, "rate_limited", 429, True),
        ({"message": "no", "code": 400}, "invalid_request", 400, False),
        ({"message": "no", "code": 401}, "unauthorized", 401, False),
        ({"message": "no", "code": "server_error"}, "server_error", 500, True),
        ({"message": "no", "code": 200}, "server_error", 500, True),
        ({"message": "no", "code": 10**6}, "server_error", 500, True),
        ({"message": "no"}, "server_error", 500, True),
        ({"message": "context_length_exceeded", "code": 400}, "context_length", 400, False),
        ("no", "server_error", 500, True),
        (True, "server_error", 500, True),
        (["no"], "server_error", 500, True),
    ],
)
def test_an_error_sent_as_a_success_is_an_error(
    error: object, kind: FailureKind, status: int, retryable: bool
) -> None:
    failure = failure_in_success(error, orjson.dumps({"error": error, "choices": []}))
    assert (failure.kind, failure.status, failure.retryable) == (kind, status, retryable)


def test_a_bad_response_keeps_what_it_cost() -> None:
    reply = Reply(text=None, finish_reason="stop", model="m", usage=Usage(3, 4))
    failure = bad_response("empty", retryable=False, reply=reply)
    assert (failure.kind, failure.status, failure.retryable) == ("bad_response", 200, False)
    assert failure.reply is reply
    assert bad_response("cut").retryable


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["retry-after", "x-should-retry"]), st.text(max_size=20)),
    st.binary(max_size=200) | st.text(max_size=50).map(lambda text: error_body(text)),
)
def test_no_answer_whatever_breaks_the_classification(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    failure = failure_of(status, body, headers)
    assert failure.message.startswith(f"HTTP {status}")
    assert "\n" not in failure.message
    assert not (failure.stops_job and failure.retryable)


def test_a_request_that_fits_the_limit_later_is_rate_limited() -> None:
    body = error_body("Rate limit reached on TPM: Limit 10000, Used 9500, Requested 1200.")
    failure = failure_of(429, body)
    assert (failure.kind, failure.retryable) == ("rate_limited", True)


def test_the_wait_in_the_body_counts_where_no_header_names_one() -> None:
    body = error_body("Please try again in 12.5s.")
    assert failure_of_response(429, {}, body).retry_after_s == 12.5
    assert failure_of_response(429, {"retry-after": "3"}, body).retry_after_s == 3.0
