"""Chat completions on the wire: what is asked, and what every shape of answer is read as."""

import logging
from typing import Any

import pytest

from llmscale.core.errors import CallFailed
from llmscale.core.output_line import line_of, to_batch
from llmscale.core.records import Failure, FailureKind, Outcome, Request, Row, Usage
from llmscale.providers.http.counts import MAX_COUNT
from llmscale.providers.http.notices import Notices
from llmscale.providers.openai import SPEC, OpenAIChat, reply_of, usage_of
from tests.servers.chat import ChatServer

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def request(**fields: Any) -> Request:
    return Request(model="openai/gpt-x", messages=HELLO, **fields)


async def sent(server: ChatServer, asked: Request, key: str | None = None) -> dict[str, Any]:
    """Send a request and return the body that arrived."""
    provider = OpenAIChat(server.base_url, key)
    try:
        await provider.send((asked,))
    finally:
        await provider.aclose()
    body: dict[str, Any] = server.requests[-1].body
    return body


def answer(
    message: Any = None, finish_reason: Any = "stop", usage: Any = None, **fields: Any
) -> dict[str, Any]:
    message = {"role": "assistant", "content": "hi"} if message is None else message
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"model": "gpt-x-1", "choices": [choice], "usage": usage} | fields


def failure_of(body: dict[str, Any]) -> Failure:
    with pytest.raises(CallFailed) as raised:
        reply_of(body)
    return raised.value.failure


async def test_a_field_that_is_not_set_is_not_sent(server: ChatServer) -> None:
    assert await sent(server, request()) == {"model": "gpt-x", "messages": HELLO}


async def test_every_field_of_a_request_is_sent_but_which_sample_it_is(server: ChatServer) -> None:
    fields: dict[str, Any] = {
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": 0,
        "stop": ["a", "b"],
        "tools": [TOOL],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
    }
    told_apart = {"model", "messages", "extra", "sample"}
    for_vectors = {"text", "dimensions"}
    assert set(fields) == set(Request.__struct_fields__) - told_apart - for_vectors
    body = await sent(server, request(sample=3, **fields))
    assert body == {"model": "gpt-x", "messages": HELLO} | fields


async def test_a_model_keeps_the_slashes_of_its_name(server: ChatServer) -> None:
    asked = Request(model="openai/meta-llama/Llama-3", messages=HELLO)
    assert (await sent(server, asked))["model"] == "meta-llama/Llama-3"


async def test_extra_fields_are_sent_as_they_are_and_win(server: ChatServer) -> None:
    extra = {"top_k": 3, "reasoning_effort": "low", "temperature": 1.5}
    body = await sent(server, request(temperature=0.1, extra=extra))
    assert body == {"model": "gpt-x", "messages": HELLO} | extra


async def test_the_key_is_sent_as_a_bearer_and_not_at_all_where_there_is_none(
    server: ChatServer,
) -> None:
    await sent(server, request(), key="sk-1")
    await sent(server, request())
    first, second = server.requests
    assert first.headers["authorization"] == "Bearer sk-1"
    assert "authorization" not in second.headers
    assert (first.method, first.path) == ("POST", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("base_url", "field"),
    [
        (SPEC.base_url, "max_completion_tokens"),
        ("https://API.openai.com:443/v1/", "max_completion_tokens"),
        ("http://127.0.0.1:8000/v1", "max_tokens"),
        ("https://api.openai.com.example.com/v1", "max_tokens"),
        ("https://gateway.example.com/api.openai.com/v1", "max_tokens"),
    ],
)
async def test_max_completion_tokens_is_the_word_at_openai_only(base_url: str, field: str) -> None:
    body = OpenAIChat(base_url)._body(request(max_tokens=5))
    assert body == {"model": "gpt-x", "messages": HELLO, field: 5}


async def test_a_base_url_may_end_in_a_slash(server: ChatServer) -> None:
    provider = OpenAIChat(server.base_url + "/")
    await provider.send((request(),))
    await provider.aclose()
    assert server.requests[0].path == "/v1/chat/completions"


async def test_a_request_that_is_no_json_fails_and_nothing_is_sent(server: ChatServer) -> None:
    with pytest.raises(CallFailed) as raised:
        await sent(server, request(extra={"day": object()}))
    assert raised.value.failure.kind == "invalid_request"
    assert not raised.value.failure.retryable
    assert server.requests == []


def test_an_answer_is_read() -> None:
    reply = reply_of(answer(usage={"prompt_tokens": 7, "completion_tokens": 2}))
    assert (reply.text, reply.finish_reason, reply.model) == ("hi", "stop", "gpt-x-1")
    assert reply.usage == Usage(7, 2)
    assert reply.tool_calls is None
    assert reply.cost_usd is None


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        (None, "stop"),
        ("eos", "stop"),
        (7, "7"),
    ],
)
def test_a_finish_reason_is_read(given: Any, read: str) -> None:
    assert reply_of(answer(finish_reason=given)).finish_reason == read


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi", "hi"),
        ([{"type": "text", "text": "h"}, {"type": "text", "text": "i"}], "hi"),
        ([{"type": "thinking", "thinking": "..."}, {"type": "text", "text": "hi"}], "hi"),
        (" \n", " \n"),
    ],
)
def test_content_is_text_or_a_list_of_parts(content: Any, text: str) -> None:
    assert reply_of(answer({"content": content})).text == text


def test_tool_calls_need_no_text() -> None:
    reply = reply_of(answer({"content": None, "tool_calls": [TOOL_CALL]}, "tool_calls"))
    assert (reply.text, reply.tool_calls) == (None, [TOOL_CALL])


def test_an_empty_list_of_tool_calls_is_none() -> None:
    assert reply_of(answer({"content": "hi", "tool_calls": []})).tool_calls is None


@pytest.mark.parametrize(
    ("message", "finish_reason", "kind", "words", "retryable"),
    [
        ({"content": None}, "stop", "bad_response", "empty", True),
        ({}, "stop", "bad_response", "empty", True),
        ({"content": ""}, "stop", "bad_response", "empty", False),
        ({"content": []}, "stop", "bad_response", "empty", False),
        ({"content": None}, "length", "bad_response", "--max-tokens", False),
        ({"content": ""}, "length", "bad_response", "--max-tokens", False),
        ({"content": None, "refusal": "I won't."}, "stop", "content_filter", "I won't.", False),
        ({"content": "x", "refusal": {"why": 1}}, "stop", "content_filter", "withheld", False),
        ({"content": "half"}, "content_filter", "content_filter", "withheld", False),
        ({"content": None}, "content_filter", "content_filter", "withheld", False),
    ],
)
def test_an_answer_that_says_nothing_is_a_failure_that_keeps_its_cost(
    message: Any, finish_reason: str, kind: FailureKind, words: str, retryable: bool
) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    failure = failure_of(answer(message, finish_reason, usage))
    assert (failure.kind, failure.retryable, failure.status) == (kind, retryable, 200)
    assert words in failure.message
    assert failure.reply is not None
    assert failure.reply.usage == Usage(7, 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": "text"},
        {"choices": [None]},
        {"choices": [[]]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": "hi"}]},
        {"choices": [{"message": ["hi"]}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [{"message": {"content": {"text": "hi"}}}]},
        {"choices": [{"message": {"content": ["hi"]}}]},
        {"choices": [{"message": {"content": [{"text": None}]}}]},
        answer({"content": "hi", "tool_calls": "look"}),
        answer({"content": "hi", "tool_calls": {"id": 1}}),
        answer({"content": "hi", "tool_calls": ["look"]}),
    ],
)
def test_an_answer_of_another_shape_is_none(body: dict[str, Any]) -> None:
    failure = failure_of(body)
    assert (failure.kind, failure.retryable) == ("bad_response", True)


def test_a_model_that_is_no_text_is_left_out() -> None:
    assert reply_of(answer(model={"name": "x"})).model == ""


def test_usage_is_read_with_its_details() -> None:
    usage, _ = usage_of(
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 80},
            "completion_tokens_details": {"reasoning_tokens": 40},
        }
    )
    assert usage == Usage(100, 50, cached_input_tokens=80, reasoning_tokens=40)


@pytest.mark.parametrize(
    "usage",
    [{}, {"prompt_tokens": None}, {"prompt_tokens_details": None}, {"completion_tokens": 0}],
)
def test_absent_counts_are_zero(usage: dict[str, Any]) -> None:
    assert usage_of(usage) == (Usage(), ())


@pytest.mark.parametrize("count", [-1, 1.5, "many", True, [], {}, MAX_COUNT + 1, 2**63])
@pytest.mark.parametrize(
    ("name", "field"), [("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")]
)
def test_what_is_no_count_of_tokens_is_unknown_and_the_answer_counts(
    name: str, field: str, count: Any
) -> None:
    reply = reply_of(answer(usage={"prompt_tokens": 1, "completion_tokens": 1} | {name: count}))
    assert (reply.text, reply.unknown_counts) == ("hi", (field,))
    line = line_of(Outcome(row=Row(index=0), reply=reply))
    assert line["usage"][field] is None


@pytest.mark.parametrize("count", [9, 9.0, "9", " 9 "])
def test_a_count_may_be_written_as_a_float_or_as_text(count: Any) -> None:
    reply = reply_of(answer(usage={"prompt_tokens": count}))
    assert (reply.usage.input_tokens, reply.unknown_counts) == (9, ())


@pytest.mark.parametrize("usage", ["many", [], [1], 7, True])
def test_usage_that_is_no_object_is_unknown_and_the_answer_counts(usage: Any) -> None:
    reply = reply_of(answer(usage=usage))
    assert reply.text == "hi"
    assert line_of(Outcome(row=Row(index=0), reply=reply))["usage"] is None


@pytest.mark.parametrize("details", [[], "none", 7, None])
def test_details_of_usage_that_are_no_object_say_nothing(details: Any) -> None:
    usage = {"prompt_tokens": 4, "prompt_tokens_details": details}
    assert reply_of(answer(usage=usage)).usage == Usage(4)


@pytest.mark.parametrize(
    "body",
    [answer({"content": {"echo": "sk-canary"}}), answer({"content": None, "a": "sk-canary"})],
)
def test_what_a_server_sends_in_the_wrong_place_is_not_repeated(body: dict[str, Any]) -> None:
    assert "sk-canary" not in failure_of(body).message


def test_half_an_answer_that_a_server_broke_off_is_a_failed_attempt_that_was_paid_for() -> None:
    failure = failure_of(answer(finish_reason="error", usage={"prompt_tokens": 7}))
    assert (failure.kind, failure.retryable) == ("server_error", True)
    assert failure.reply is not None
    assert (failure.reply.text, failure.reply.usage) == ("hi", Usage(7))


def test_an_unknown_finish_reason_is_kept_and_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notices = Notices(logging.getLogger("test"))
    for _ in range(3):
        assert reply_of(answer(finish_reason="bored"), notices).finish_reason == "bored"
    assert caplog.text.count("unknown finish reason 'bored'") == 1


@pytest.mark.parametrize(
    ("message", "beside"),
    [
        ({"function_call": {"name": "f", "arguments": "{}"}}, {}),
        ({"audio": {"id": "a", "data": "AAAA"}}, {}),
        ({"images": [{"image_url": {"url": "data:image/png;base64,AA=="}}]}, {}),
        ({"reasoning_content": "because"}, {}),
        ({"content": "hi", "annotations": [{"type": "url_citation"}]}, {}),
        ({"content": "hi"}, {"logprobs": {"content": [{"token": "hi", "logprob": -0.1}]}}),
    ],
)
def test_what_comes_beside_the_text_is_handed_out_in_both_output_formats(
    message: dict[str, Any], beside: dict[str, Any]
) -> None:
    body = answer({"role": "assistant", "content": None} | message)
    body["choices"][0] |= beside
    extra = {name: value for name, value in message.items() if name != "content"} | beside
    line = line_of(Outcome(row=Row(index=0), reply=reply_of(body)))
    assert line["extra"] == extra
    choice = to_batch(line)["response"]["body"]["choices"][0]
    assert choice["message"] | choice == choice["message"] | choice | extra


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"object": "error", "message": "model is asleep", "code": 503}, "model is asleep"),
        ({"detail": "worker 3 died"}, "worker 3 died"),
        ({"status": "failed", "msg": "no card"}, "no card"),
        ({"hello": "world"}, '"hello":"world"'),
    ],
)
def test_an_error_in_an_answer_of_success_is_quoted(body: dict[str, Any], words: str) -> None:
    failure = failure_of(body)
    assert words in failure.message
    assert failure.retryable
