"""From an HTTP answer that is no success to one `Failure`.

The same table serves every HTTP provider: statuses mean the same everywhere, and what only the
body tells (a context that is too long, a quota that is used up) follows from a few known words.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from llmscale.core.records import Failure, FailureKind, Reply
from llmscale.providers.http.dialects import kind_of_words
from llmscale.providers.http.retry_after import retry_after_in_body_s, retry_after_s

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

_OWN_FIELDS = ("message", "code", "type", "status", "detail", "error", "msg", "title", "reason")

_SAID_IN = ("message", "detail", "msg", "error", "title")
"""Where servers put a sentence for a person; the first that is there."""

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
        retry_after_s=_wish_s(headers, body) if retryable else None,
        status=status,
        stops_job=kind in _STOPS_JOB,
    )


def _wish_s(headers: Mapping[str, str], body: bytes) -> float | None:
    """Return the seconds that a server asks to wait; what a header says goes before the body."""
    wish_s = retry_after_s(headers)
    return retry_after_in_body_s(body) if wish_s is None else wish_s


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


def no_answer(message: str, answer: Mapping[str, Any], expected: str) -> Failure:
    """Classify JSON with a status of success that is not what was asked for.

    The message quotes the server where there is no field `expected`, as an answer would have.
    `object` or `status` may say that it is an error, and `code` which one.
    """
    if expected in answer:
        return bad_response(message)
    if answer.get("object") == "error" or answer.get("status") in ("error", "failed"):
        return failure_in_success(answer, orjson.dumps(answer))
    said, _ = _described(orjson.dumps(answer))
    return bad_response(f"{message}; the server said: {said}")


def _kind(status: int, words: str) -> FailureKind:
    kind = kind_of_words(status, words)
    if kind is not None:
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
    error = parsed.get("error") or parsed if isinstance(parsed, dict) else parsed
    if not isinstance(error, dict):
        beside = parsed if isinstance(parsed, dict) else {}
        error = {**beside, "message": beside.get("message") or error}
    own = [error.get(name) for name in _OWN_FIELDS]
    for name, of in (("innererror", "code"), ("metadata", "raw")):
        inner = error.get(name)
        own.append(inner.get(of) if isinstance(inner, dict) else None)
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and metadata.get("reasons"):  # of a moderation
        own.append("flagged")
    words = " ".join(value for value in own if isinstance(value, str))
    said = next((error[n] for n in _SAID_IN if isinstance(error.get(n), str) and error[n]), text)
    return one_line(said), words.lower()


def one_line(text: str) -> str:
    """Return a text as a message: in one line, and bounded."""
    line = " ".join(text.split())
    if len(line) > MAX_MESSAGE_CHARACTERS:
        return line[:MAX_MESSAGE_CHARACTERS] + "..."
    return line
