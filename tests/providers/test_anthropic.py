"""The Messages API on the wire: chat completions translated there, and its answers back."""

from typing import Any

import orjson
import pytest

from llmscale.core.errors import CallFailed
from llmscale.core.records import Failure, FailureKind, Request, Usage
from llmscale.providers.anthropic import (
    API_VERSION,
    SPEC,
    AnthropicMessages,
    body_of,
    reply_of,
    usage_of,
)
from tests.servers.chat import ChatServer, Step

HELLO = [{"role": "user", "content": "hello"}]
USAGE = {"input_tokens": 7, "output_tokens": 2}
ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x-1",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": USAGE,
}
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "looks",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    },
}


def request(messages: list[Any] | None = None, **fields: Any) -> Request:
    return Request(model="anthropic/claude-x", messages=messages or HELLO, **fields)


def failure_of(answer: dict[str, Any]) -> Failure:
    with pytest.raises(CallFailed) as raised:
        reply_of(answer)
    return raised.value.failure


def refused(asked: Request) -> Failure:
    with pytest.raises(CallFailed) as raised:
        body_of(asked)
    return raised.value.failure


async def test_a_call_goes_to_messages_with_key_and_version(server: ChatServer) -> None:
    server.script([Step(body=ANSWER)])
    provider = AnthropicMessages(server.base_url + "/", "sk-ant-1")
    reply = (await provider.send((request(max_tokens=5),)))[0]
    await provider.aclose()
    received = server.requests[0]
    assert (received.method, received.path) == ("POST", "/v1/messages")
    assert received.headers["x-api-key"] == "sk-ant-1"
    assert received.headers["anthropic-version"] == API_VERSION
    assert "authorization" not in received.headers
    assert received.body == {"model": "claude-x", "messages": HELLO, "max_tokens": 5}
    assert (reply.text, reply.finish_reason, reply.model) == ("hi", "stop", "claude-x-1")
    assert reply.usage == Usage(7, 2)


async def test_without_a_key_no_key_is_sent(server: ChatServer) -> None:
    server.script([Step(body=ANSWER)])
    provider = AnthropicMessages(server.base_url)
    await provider.send((request(),))
    await provider.aclose()
    assert "x-api-key" not in server.requests[0].headers


def test_a_bound_on_tokens_is_always_sent() -> None:
    body = body_of(request())
    assert body == {"model": "claude-x", "messages": HELLO, "max_tokens": SPEC.default_max_tokens}


def test_sampling_fields_are_translated() -> None:
    body = body_of(request(temperature=0.0, top_p=0.5, stop=["a", "b"]))
    assert (body["temperature"], body["top_p"]) == (0.0, 0.5)
    assert body["stop_sequences"] == ["a", "b"]
    assert "stop" not in body


def test_extra_fields_are_sent_as_they_are_and_win() -> None:
    extra = {"top_k": 3, "thinking": {"type": "disabled"}, "max_tokens": 9}
    body = body_of(request(max_tokens=5, extra=extra))
    assert {name: body[name] for name in extra} == extra


def test_a_seed_is_refused_since_the_api_has_none() -> None:
    failure = refused(request(seed=0))
    assert (failure.kind, failure.retryable) == ("invalid_request", False)
    assert "seed" in failure.message


def test_system_messages_become_the_system_field_in_their_order() -> None:
    body = body_of(
        request(
            [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "hello"},
                {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
            ]
        )
    )
    assert body["system"] == "be brief\n\nbe kind"
    assert body["messages"] == HELLO
    assert "system" not in body_of(request())


def test_content_in_blocks_is_passed_on() -> None:
    blocks = [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]
    assert body_of(request([{"role": "user", "content": blocks}]))["messages"] == [
        {"role": "user", "content": blocks}
    ]


def test_tool_calls_and_their_results_become_blocks() -> None:
    arguments = '{"at": "the sky"}'
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    bare = {"id": "c2", "type": "function", "function": {"name": "wait", "arguments": ""}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": "let me see", "tool_calls": [call, bare]},
        {"role": "tool", "tool_call_id": "c1", "content": "blue"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    used = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "the sky"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "blue"}
    assert body_of(request(messages))["messages"] == [
        *HELLO,
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "let me see"},
                used,
                {"type": "tool_use", "id": "c2", "name": "wait", "input": {}},
            ],
        },
        {"role": "user", "content": [result]},
        {"role": "assistant", "content": [used]},
    ]


def test_tools_are_translated_and_those_in_anthropics_words_passed_on() -> None:
    own = {"name": "own", "input_schema": {"type": "object"}}
    bare = {"type": "function", "function": {"name": "bare"}}
    assert body_of(request(tools=[LOOK, bare, own]))["tools"] == [
        {
            "name": "look",
            "description": "looks",
            "input_schema": LOOK["function"]["parameters"],  # type: ignore[index]
        },
        {"name": "bare", "input_schema": {"type": "object"}},
        own,
    ]


@pytest.mark.parametrize(
    ("choice", "translated"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "look"}}, {"type": "tool", "name": "look"}),
        ({"type": "tool", "name": "look"}, {"type": "tool", "name": "look"}),
    ],
)
def test_a_tool_choice_is_translated(choice: Any, translated: dict[str, Any]) -> None:
    assert body_of(request(tools=[LOOK], tool_choice=choice))["tool_choice"] == translated


def test_a_json_schema_is_translated() -> None:
    schema = {"type": "object"}
    named = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    body = body_of(request(response_format=named))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert "response_format" not in body
    assert "output_config" not in body_of(request(response_format={"type": "text"}))


@pytest.mark.parametrize(
    "asked",
    [
        request([{"content": "no role"}]),
        request([{"role": "user"}]),
        request(["hello"]),
        request([{"role": "system", "content": [{"type": "image"}]}]),
        request([{"role": "system", "content": None}]),
        request([{"role": "tool", "content": "no id"}]),
        request([{"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}]),
        request([{"role": "assistant", "content": None, "tool_calls": "look"}]),
        request(
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}],
                }
            ]
        ),
        request(tools=[7]),
        request(tools=[{"type": "function", "function": {}}]),
        request(tool_choice="sometimes"),
        request(tool_choice=7),
        request(response_format={"type": "json_object"}),
        request(response_format={"type": "json_schema"}),
        request(response_format={}),
    ],
)
def test_what_does_not_translate_fails_before_it_is_sent(asked: Request) -> None:
    failure = refused(asked)
    assert (failure.kind, failure.retryable, failure.stops_job) == ("invalid_request", False, False)


@pytest.mark.parametrize(
    ("stop_reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "pause_turn"),
        (None, "stop"),
    ],
)
def test_a_stop_reason_is_read(stop_reason: str | None, finish: str) -> None:
    assert reply_of(ANSWER | {"stop_reason": stop_reason}).finish_reason == finish


def test_texts_of_several_blocks_are_one_text_and_thinking_is_none() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "h"},
        {"type": "text", "text": "i"},
    ]
    assert reply_of(ANSWER | {"content": blocks}).text == "hi"


def test_a_use_of_a_tool_is_read_as_a_tool_call() -> None:
    block = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "the sky"}}
    reply = reply_of(ANSWER | {"content": [block], "stop_reason": "tool_use"})
    assert (reply.text, reply.finish_reason) == (None, "tool_calls")
    assert reply.tool_calls is not None
    call = reply.tool_calls[0]
    assert (call["id"], call["type"], call["function"]["name"]) == ("c1", "function", "look")
    assert orjson.loads(call["function"]["arguments"]) == {"at": "the sky"}


def test_a_tool_call_survives_the_way_there_and_back() -> None:
    block = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": ["a", 1, None]}}
    reply = reply_of(ANSWER | {"content": [block], "stop_reason": "tool_use"})
    again = request([{"role": "assistant", "content": None, "tool_calls": reply.tool_calls}])
    assert body_of(again)["messages"] == [{"role": "assistant", "content": [block]}]


def test_usage_counts_cached_and_written_tokens_as_input() -> None:
    usage, _ = usage_of(
        {
            "input_tokens": 10,
            "cache_read_input_tokens": 200,
            "cache_creation_input_tokens": 3_000,
            "output_tokens": 4,
        }
    )
    assert usage == Usage(3_210, 4, cached_input_tokens=200, cache_write_tokens=3_000)


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"stop_reason": "refusal"}, "content_filter", "refused"),
        ({"stop_reason": "refusal", "content": []}, "content_filter", "refused"),
        ({"content": []}, "bad_response", "empty"),
        ({"content": [{"type": "text", "text": ""}]}, "bad_response", "empty"),
        ({"content": [], "stop_reason": "max_tokens"}, "bad_response", "--max-tokens"),
    ],
)
def test_an_answer_that_says_nothing_is_a_failure_that_keeps_its_cost(
    fields: dict[str, Any], kind: FailureKind, words: str
) -> None:
    failure = failure_of(ANSWER | fields)
    assert (failure.kind, failure.retryable, failure.status) == (kind, False, 200)
    assert words in failure.message
    assert failure.reply is not None
    assert failure.reply.usage == Usage(7, 2)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"content": "hi"},
        {"content": 7},
        {"content": ["hi"]},
        {"content": [{}]},
        {"content": [{"type": "text"}]},
        {"content": [{"type": "text", "text": None}]},
        {"content": [{"type": "tool_use", "id": "c1"}]},
    ],
)
def test_an_answer_of_another_shape_is_none(answer: dict[str, Any]) -> None:
    failure = failure_of(answer)
    assert (failure.kind, failure.retryable) == ("bad_response", True)
