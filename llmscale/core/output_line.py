"""The shapes of an output line: an answer, our own way or as an OpenAI batch file has it; a vector.

An outcome is written once; the line of a batch file is made from our own. A line never holds a
failure in the place of an answer.
"""

from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson
from msgspec.structs import asdict

from llmscale.core.choices import OutputFormat
from llmscale.core.json_text import dumps
from llmscale.core.model_name import name_at_provider
from llmscale.core.records import Failure, Outcome, Reply, Row

EXTRA_OF_CHOICE = ("logprobs",)
EXTRA_OF_ANSWER = ("citations", "search_results", "related_questions")
"""Fields of `extra` that stand beside the message, and beside the choices, in a chat completion."""

_KEEPS_TEXT = frozenset({"schema_mismatch", "schema_timeout"})
"""Failures whose text was paid for and is kept in the error, as `raw`."""

_READ_FIELDS = frozenset({"id", "index", "model", "usage", "cost_usd", "attempts", "error"})


def line_of(outcome: Outcome, output_format: OutputFormat = "llmscale") -> dict[str, Any]:
    """Return an outcome as the object of a line: of an answer, in our own shape, or of a vector."""
    if output_format in ("numbers", "base64"):
        return _vector_line(outcome, as_numbers=output_format == "numbers")
    row, reply, failure = outcome.row, outcome.reply, outcome.failure
    paid = reply or (failure.reply if failure else None)
    line: dict[str, Any] = {
        "id": row.id,
        "index": row.index,
        "output": reply.text if reply else None,
        "model": _model(row, paid),
        "finish_reason": paid.finish_reason if paid else None,
    }
    _add_facts(line, outcome, paid)
    if reply is not None and reply.tool_calls:
        line["tool_calls"] = reply.tool_calls
    if paid is not None and paid.repairs:
        line["repairs"] = paid.repairs
    if reply is not None and reply.extra:
        line["extra"] = reply.extra
    return line


def _vector_line(outcome: Outcome, *, as_numbers: bool) -> dict[str, Any]:
    row, reply, failure = outcome.row, outcome.reply, outcome.failure
    paid = reply or (failure.reply if failure else None)
    place = row.place
    vector: Any = reply.vector if reply is not None else None
    if vector is not None:
        vector = _numbers_of()(vector) if as_numbers else b64encode(vector).decode()
    line: dict[str, Any] = {
        "id": row.id,
        "index": row.index,
        "source": place.source if place else None,
        "start": place.start if place else None,
        "end": place.end if place else None,
        "text": row.request.text if row.request else None,
        "vector": vector,
        "truncated": reply.finish_reason == "length" if reply else False,
        "model": _model(row, paid),
    }
    _add_facts(line, outcome, paid)
    return line


def _add_facts(line: dict[str, Any], outcome: Outcome, paid: Reply | None) -> None:
    """Add what a line of either kind ends with. `paid`: the reply, or one of no use."""
    reply, failure = outcome.reply, outcome.failure
    line["usage"] = _usage(paid) if paid else None
    line["cost_usd"] = _cost_usd(paid) if paid else None
    line["latency_s"] = round(outcome.latency_s, 6)
    line["attempts"] = outcome.attempts
    line["cached"] = reply.cached if reply else False
    line["error"] = _error(failure) if failure else None
    line["metadata"] = outcome.row.metadata


def encode(line: dict[str, Any], output_format: OutputFormat) -> bytes:
    """Return the bytes of a line, newline included; only a batch line is made from our own."""
    if output_format == "openai-batch":
        line = to_batch(line)
    return dumps(line, orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def to_batch(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of ours as OpenAI's batch output has it.

    Format: https://platform.openai.com/docs/api-reference/batch/request-output
    """
    error = line["error"]
    custom_id = None if line["id"] is None else str(line["id"])
    batch: dict[str, Any] = {"id": f"batch_req_{line['index']}", "custom_id": custom_id}
    if error is not None:
        batch["response"] = None
        batch["error"] = {"code": error["type"], "message": error["message"]}
        return batch
    message: dict[str, Any] = {"role": "assistant", "content": line["output"]}
    if "tool_calls" in line:
        message["tool_calls"] = line["tool_calls"]
    choice = {"index": 0, "message": message, "finish_reason": line["finish_reason"]}
    extra = dict(line.get("extra") or {})
    choice |= {name: extra.pop(name) for name in EXTRA_OF_CHOICE if name in extra}
    beside = {name: extra.pop(name) for name in EXTRA_OF_ANSWER if name in extra}
    message |= extra
    usage = line["usage"] or {}
    input_tokens, output_tokens = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
    body = {
        "id": f"chatcmpl-{line['index']}",
        "object": "chat.completion",
        "model": name_at_provider(line["model"] or ""),
        "choices": [choice],
        "usage": {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        },
        **beside,
    }
    batch["response"] = {"status_code": 200, "request_id": batch["id"], "body": body}
    batch["error"] = None
    return batch


def is_own_line(line: Any) -> bool:
    """Tell whether parsed JSON is a line as `line_of` makes it, with all that is read from it."""
    if not isinstance(line, dict) or not line.keys() >= _READ_FIELDS:
        return False
    error, usage = line["error"], line["usage"]
    return (
        ("vector" in line or _has(line, "output", "finish_reason"))
        and (error is None or _has(error, "type", "message"))
        and (usage is None or _has(usage, "input_tokens", "output_tokens"))
    )


def is_batch_line(line: dict[str, Any]) -> bool:
    """Tell whether an output line is in the shape of an OpenAI batch output file."""
    return "response" in line and "index" not in line


def is_answered(line: dict[str, Any]) -> bool:
    """Tell whether an output line, in either shape, holds an answer."""
    if line.get("error") is not None:
        return False
    return line.get("response") is not None if is_batch_line(line) else True


def _cost_usd(reply: Reply) -> float | None:
    """What the row has cost: nothing where another has paid, now or earlier."""
    return 0.0 if reply.cached or reply.deduped else reply.cost_usd


def _usage(reply: Reply) -> dict[str, int | None] | None:
    """Return the counts; null where a count is unknown, and for all where none is known."""
    counts: dict[str, int | None] = asdict(reply.usage)
    if not reply.unknown_counts:
        return counts
    counts |= dict.fromkeys(reply.unknown_counts)
    return counts if any(counts.values()) else None


def _model(row: Row, paid: Reply | None) -> str | None:
    """The model that answered; where none has, the one that was to."""
    if paid is not None and paid.answered_by:
        return paid.answered_by
    return row.request.model if row.request else None


def _has(value: Any, *names: str) -> bool:
    return isinstance(value, dict) and value.keys() >= set(names)


def _error(failure: Failure) -> dict[str, Any]:
    error = {"type": failure.kind, "message": failure.message, "retryable": failure.retryable}
    if failure.kind in _KEEPS_TEXT and failure.reply is not None:
        error["raw"] = failure.reply.text
    return error


@cache
def _numbers_of() -> Callable[[bytes], Any]:
    from llmscale.core.vectors import numbers_of  # numpy, only where there are vectors

    return numbers_of
