"""The two shapes of an output line: strict JSON, an answer or an error, never one as the other."""

import json
from typing import Any, NoReturn

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from llmscale.core.choices import OutputFormat
from llmscale.core.output_line import (
    encode,
    is_answered,
    is_batch_line,
    is_own_line,
    line_of,
    to_batch,
)
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage

FORMATS: list[OutputFormat] = ["llmscale", "openai-batch"]

REQUEST = Request(model="sim/some/model", messages=[{"role": "user", "content": "hello"}])
ROW = Row(index=3, id="a", request=REQUEST, metadata={"any": ["thing"]})
REPLY = Reply(
    text="an answer",
    finish_reason="stop",
    model="model",
    usage=Usage(10, 20, 5, 2, 1),
    cost_usd=0.25,
)
FAILURE = Failure(kind="timeout", message="no answer within 5 s", retryable=True)

ANSWERED = Outcome(row=ROW, reply=REPLY, attempts=2, latency_s=1.23456789)
FAILED = Outcome(row=ROW, failure=FAILURE, attempts=5, latency_s=2.0)


def strict(raw: bytes) -> Any:
    """Parse as RFC 8259 has it: one line of UTF-8, no NaN, no key twice."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    text = raw.decode("utf-8")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)


def test_an_answered_row_is_a_line_with_every_field() -> None:
    assert line_of(ANSWERED) == {
        "id": "a",
        "index": 3,
        "output": "an answer",
        "model": "sim/some/model",
        "finish_reason": "stop",
        "usage": {
            "input_tokens": 10,
            "output_tokens": 20,
            "cached_input_tokens": 5,
            "cache_write_tokens": 2,
            "reasoning_tokens": 1,
        },
        "cost_usd": 0.25,
        "latency_s": 1.234568,
        "attempts": 2,
        "cached": False,
        "error": None,
        "metadata": {"any": ["thing"]},
    }


def test_a_failed_row_is_a_line_with_the_same_fields_and_no_output() -> None:
    line = line_of(FAILED)
    assert list(line) == list(line_of(ANSWERED))
    assert line["error"] == {
        "type": "timeout",
        "message": "no answer within 5 s",
        "retryable": True,
    }
    assert [line[name] for name in ("output", "finish_reason", "usage", "cost_usd")] == [None] * 4


def test_a_failed_row_that_was_paid_for_says_what_it_cost_but_not_what_it_said() -> None:
    paid = Failure(kind="schema_mismatch", message="does not fit", reply=REPLY)
    line = line_of(Outcome(row=ROW, failure=paid, attempts=1))
    assert (line["output"], line["cost_usd"], line["finish_reason"]) == (None, 0.25, "stop")
    assert line["usage"]["output_tokens"] == 20


@pytest.mark.parametrize("how", ["cached", "deduped"])
def test_a_row_that_another_has_paid_for_cost_nothing(how: str) -> None:
    reply = structs.replace(REPLY, attempts=0, **{how: True})
    line = line_of(Outcome(row=ROW, reply=reply))
    assert (line["cost_usd"], line["cached"], line["attempts"]) == (0.0, how == "cached", 0)
    assert line["usage"]["output_tokens"] == 20, "what the answer is made of, not what it cost"


def test_a_row_that_was_no_request_has_neither_model_nor_attempts() -> None:
    row = Row(index=0, failure=Failure(kind="bad_row", message="in.jsonl line 1: not JSON"))
    line = line_of(Outcome(row=row, failure=row.failure))
    assert (line["id"], line["model"], line["attempts"]) == (None, None, 0)


def test_tool_calls_are_a_field_only_where_there_are_some() -> None:
    calls = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    reply = Reply(text=None, finish_reason="tool_calls", model="m", usage=Usage(), tool_calls=calls)
    line = line_of(Outcome(row=ROW, reply=reply))
    assert (line["tool_calls"], line["output"]) == (calls, None)
    assert "tool_calls" not in line_of(ANSWERED)
    message = to_batch(line)["response"]["body"]["choices"][0]["message"]
    assert message == {"role": "assistant", "content": None, "tool_calls": calls}


def test_an_answered_row_as_openai_has_it_in_a_batch_output() -> None:
    assert to_batch(line_of(ANSWERED)) == {
        "id": "batch_req_3",
        "custom_id": "a",
        "response": {
            "status_code": 200,
            "request_id": "batch_req_3",
            "body": {
                "id": "chatcmpl-3",
                "object": "chat.completion",
                "model": "some/model",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "an answer"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
            },
        },
        "error": None,
    }


def test_a_failed_row_as_openai_has_it_in_a_batch_output() -> None:
    assert to_batch(line_of(FAILED)) == {
        "id": "batch_req_3",
        "custom_id": "a",
        "response": None,
        "error": {"code": "timeout", "message": "no answer within 5 s"},
    }


@pytest.mark.parametrize(("row_id", "custom_id"), [(5, "5"), ("", ""), (None, None)])
def test_a_custom_id_is_text(row_id: Any, custom_id: str | None) -> None:
    outcome = Outcome(row=Row(index=0, id=row_id, request=REQUEST), reply=REPLY)
    assert to_batch(line_of(outcome))["custom_id"] == custom_id


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_line_tells_whether_it_holds_an_answer_after_a_way_through_the_file(
    output_format: OutputFormat,
) -> None:
    answered, failed = (
        strict(encode(line_of(outcome), output_format)) for outcome in (ANSWERED, FAILED)
    )
    assert (is_answered(answered), is_answered(failed)) == (True, False)
    for line in (answered, failed):
        assert is_batch_line(line) == (output_format == "openai-batch")
        assert is_own_line(line) == (output_format == "llmscale")


@pytest.mark.parametrize("outcome", [ANSWERED, FAILED])
def test_a_line_that_lacks_what_is_read_from_it_is_none_of_ours(outcome: Outcome) -> None:
    whole = strict(encode(line_of(outcome), "llmscale"))
    unread = {"latency_s", "cached", "metadata"}
    for name in whole.keys() - unread:
        assert not is_own_line({n: v for n, v in whole.items() if n != name}), name
    assert is_own_line({n: v for n, v in whole.items() if n not in unread})


@pytest.mark.parametrize(
    ("outcome", "field", "value"),
    [
        (FAILED, "error", "timeout"),
        (FAILED, "error", {"type": "timeout"}),
        (FAILED, "error", {"message": "no answer"}),
        (ANSWERED, "usage", 5),
        (ANSWERED, "usage", {"input_tokens": 5}),
        (ANSWERED, "usage", {"output_tokens": 5}),
    ],
)
def test_a_line_with_half_an_error_or_half_a_usage_is_none_of_ours(
    outcome: Outcome, field: str, value: object
) -> None:
    assert not is_own_line(line_of(outcome) | {field: value})


@pytest.mark.parametrize("value", [None, 5, "line", [], {}])
def test_what_is_no_object_or_an_empty_one_is_none_of_ours(value: object) -> None:
    assert not is_own_line(value)


TEXT = st.text() | st.sampled_from(["\u2028", "\x00", "\x1b]52;c;x\x07", "\n", "\r\n", '"', "\\"])


@given(text=TEXT, message=TEXT, row_id=TEXT | st.integers(-(2**63), 2**64 - 1))
@pytest.mark.parametrize("output_format", FORMATS)
def test_whatever_a_line_says_it_is_one_line_of_strict_json(
    output_format: OutputFormat, text: str, message: str, row_id: Any
) -> None:
    row = Row(index=0, id=row_id, request=REQUEST)
    reply = Reply(text=text, finish_reason="stop", model="m", usage=Usage(), cost_usd=float("nan"))
    failure = Failure(kind="bad_response", message=message)
    for outcome in (Outcome(row=row, reply=reply), Outcome(row=row, failure=failure)):
        raw = encode(line_of(outcome), output_format)
        assert strict(raw) == orjson.loads(raw)
        assert is_answered(strict(raw)) == (outcome.reply is not None)
