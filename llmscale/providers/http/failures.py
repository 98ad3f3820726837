"""From an HTTP answer that is no success to one `Failure`.

The same table serves every HTTP provider: statuses mean the same everywhere, and what only the
body tells (a context that is too long, a quota that is used up) follows from a few known words.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from llmscale.core.records import Failure, FailureKind, Reply
from llmscale.providers.http.retry_after import retry_after_s

_KIND_OF_STATUS: dict[int, FailureKind] = {
    401: "unauthorized",
    402: "quota_exhausted",
    403: "unauthorized",
    404: "model_not_found",
    408: "timeout",
    409: "server_error",
    425: "rate_limited",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}

_RETRYABLE = frozenset({"timeout", "server_error", "rate_limited", "overloaded", "connection"})
_STOPS_JOB = frozenset({"unauthorized", "quota_exhausted"})

# What the body says goes before what the status says. Words from the error references of OpenAI,
# Azure, Anthropic, vLLM and llama.cpp.
_KIND_OF_WORDS: tuple[tuple[FailureKind, tuple[str, ...]], ...] = (
    (
        "quota_exhausted",
        ("insufficient_quota", "credit balance is too low", "billing_hard_limit", "billing_error"),
    ),
    (
        "context_length",
        (
            "context_length_exceeded",
            "maximum context length",
            "exceed_context_size",
            "prompt is too long",
        ),
    ),
    ("content_filter", ("content_filter", "content_policy", "responsibleaipolicy")),
)

_OWN_FIELDS = ("message", "code", "type", "status", "detail")

MAX_MESSAGE_CHARACTERS = 500


def failure_of_response(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Classify an answer whose status is not 200."""
    message, words = _described(body)
    kind = _kind(status, words)
    retryable = kind in _RETRYABLE
    should_retry = headers.get("x-should-retry")  # a hint that OpenAI's and Anthropic's SDKs obey
    if should_retry in ("true", "false") and kind not in _STOPS_JOB:
        retryable = should_retry == "true"
    return Failure(
        kind=kind,
        message=f"HTTP {status}: {message}" if message else f"HTTP {status}",
        retryable=retryable,
        retry_after_s=retry_after_s(headers) if retryable else None,
        status=status,
        stops_job=kind in _STOPS_JOB,
    )


def failure_in_success(error: Any, body: bytes) -> Failure:
    """Classify an error sent with status 200, as some gateways do."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return failure_of_response(status, {}, body)


def bad_response(message: str, *, retryable: bool = True, reply: Reply | None = None) -> Failure:
    """An answer that is none: empty, malformed, cut. `reply` holds what it cost."""
    return Failure(
        kind="bad_response", message=message, retryable=retryable, status=200, reply=reply
    )


def _kind(status: int, words: str) -> FailureKind:
    if status in (400, 402, 403, 413, 422, 429):
        for kind, signs in _KIND_OF_WORDS:
            if any(sign in words for sign in signs):
                return kind
    if 300 <= status < 400:
        return "invalid_request"
    return _KIND_OF_STATUS.get(status, "server_error" if status >= 500 else "invalid_request")


def _described(body: bytes) -> tuple[str, str]:
    """Return what to tell a person, and the words in lower case by which an error is recognised.

    Servers like to quote the request, so only fields of the error's own count where there are some:
    a prompt that says insufficient_quota must not stop a job.
    """
    text = body[:20_000].decode("utf-8", "replace")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return one_line(text), text.lower()
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if not isinstance(error, dict):
        error = {"message": error}
    message = error.get("message")
    inner = error.get("innererror")
    own = [error.get(name) for name in _OWN_FIELDS]
    own.append(inner.get("code") if isinstance(inner, dict) else None)
    words = " ".join(value for value in own if isinstance(value, str))
    return one_line(message if isinstance(message, str) else text), words.lower()


def one_line(text: str) -> str:
    """Return a text as a message: in one line, and bounded."""
    line = " ".join(text.split())
    if len(line) > MAX_MESSAGE_CHARACTERS:
        return line[:MAX_MESSAGE_CHARACTERS] + "..."
    return line
