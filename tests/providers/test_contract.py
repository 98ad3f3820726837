"""What every provider promises, held against all of them: `Provider` in `llmscale.core.protocols`.

openai and anthropic talk to a scripted server on loopback, local to real weights, loaded once.
"""

import asyncio
import re
import subprocess
import sys
import typing
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from llmscale.config import EndpointConfig
from llmscale.core.choices import OutputFormat
from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.output_line import encode, line_of
from llmscale.core.protocols import Provider
from llmscale.core.records import FailureKind, Outcome, Reply, Request, Row
from llmscale.providers import PROVIDERS, anthropic, open_provider, openai, split_model
from llmscale.providers.http.counts import MAX_COUNT
from llmscale.providers.http.finish_reasons import is_known
from tests.servers.chat import ROOT, ChatServer, Step, expected_answer

on_its_loop = pytest.mark.asyncio(loop_scope="module")
every_provider = pytest.mark.parametrize("name", PROVIDERS)
every_http_provider = pytest.mark.parametrize("name", ["openai", "anthropic"])

NAMES = {"openai": "m", "anthropic": "m", "sim": "m", "local": "smollm2"}


def request(name: str, content: str = "hello", **fields: Any) -> Request:
    fields = {"max_tokens": 4} | fields
    messages = [{"role": "user", "content": content}]
    return Request(model=f"{name}/{NAMES[name]}", messages=messages, **fields)


def openai_answer(text: Any = "hi", finish_reason: Any = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "tool_calls": None}
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"model": "m-1", "choices": [choice], "usage": usage}


def anthropic_answer(text: Any = "hi", stop_reason: Any = "end_turn") -> dict[str, Any]:
    return {
        "model": "m-1",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 1},
    }


ANSWERS = {"openai": openai_answer, "anthropic": anthropic_answer}
READERS: dict[str, Callable[[dict[str, Any]], Reply]] = {
    "openai": openai.reply_of,
    "anthropic": anthropic.reply_of,
}


@dataclass
class Subjects:
    """One open provider of each kind, and the server that two of them talk to."""

    server: ChatServer
    local: Provider

    def open(self, name: str, settings: str = "") -> Provider:
        if name == "local":
            return self.local
        base_url = self.server.base_url if name in ANSWERS else None
        model = f"{name}/{NAMES[name]}{settings}"
        return open_provider(EndpointConfig(model=model, base_url=base_url), 4)

    async def close(self, provider: Provider) -> None:
        if provider is not self.local:
            await provider.aclose()

    def script_answers(self, name: str, requests: list[Request]) -> None:
        """Have the server answer in the words of the API; it speaks only openai's by itself."""
        if name == "anthropic":
            texts = [expected_answer("m", one.messages) for one in requests]
            self.server.script([Step(body=anthropic_answer(text)) for text in texts])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[Provider]:
    provider = open_provider(EndpointConfig(model="local/smollm2"), 2)
    yield provider
    await provider.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def subjects(local: Provider, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Subjects]:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    async with ChatServer() as server:
        yield Subjects(server, local)


@every_provider
@on_its_loop
async def test_there_is_one_reply_for_each_request_in_order(subjects: Subjects, name: str) -> None:
    asked = [request(name, f"Say the number {number}.") for number in range(3)]
    subjects.script_answers(name, asked)
    provider = subjects.open(name)
    replies = await provider.send(asked)
    await subjects.close(provider)
    assert len(replies) == 3
    if name in ANSWERS:
        assert [r.text for r in replies] == [expected_answer("m", one.messages) for one in asked]
    elif name == "sim":
        assert len({reply.text for reply in replies}) == 3


@every_provider
@on_its_loop
async def test_no_requests_have_no_replies(subjects: Subjects, name: str) -> None:
    provider = subjects.open(name)
    assert await provider.send([]) == []
    await subjects.close(provider)
    assert subjects.server.requests == []


@every_provider
@on_its_loop
async def test_a_reply_has_text_a_finish_reason_and_usage(subjects: Subjects, name: str) -> None:
    asked = [request(name)]
    subjects.script_answers(name, asked)
    provider = subjects.open(name)
    reply = (await provider.send(asked))[0]
    await subjects.close(provider)
    assert reply.text
    assert is_known(reply.finish_reason)
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.model
    assert (reply.attempts, reply.endpoint, reply.cached) == (1, "", False), "not its business"


FAILING = {
    "openai": ("", "hello", "server_error", True),
    "anthropic": ("", "hello", "server_error", True),
    "sim": (",error_rate=1", "hello", "server_error", True),
    "local": ("", "word " * 4_000, "context_length", False),
}


@every_provider
@on_its_loop
async def test_a_failed_call_raises_what_failed_and_whether_to_try_again(
    subjects: Subjects, name: str
) -> None:
    settings, content, kind, retryable = FAILING[name]
    subjects.server.script([Step(status=500)])
    provider = subjects.open(name, settings)
    with pytest.raises(CallFailed) as raised:
        await provider.send([request(name, content)])
    await subjects.close(provider)
    failure = raised.value.failure
    assert (failure.kind, failure.retryable, failure.stops_job) == (kind, retryable, False)
    assert failure.kind in typing.get_args(FailureKind)
    assert failure.message
    assert len(subjects.server.requests) == (1 if name in ANSWERS else 0), "it never retries"


@every_provider
@on_its_loop
async def test_after_a_failed_call_the_next_is_answered(subjects: Subjects, name: str) -> None:
    _, content, _, _ = FAILING[name]
    subjects.server.script([Step(status=500)])
    provider = subjects.open(name, ",error_rate=0.5,seed=9" if name == "sim" else "")
    asked = [request(name)]
    subjects.script_answers(name, asked)
    with pytest.raises(CallFailed):
        await provider.send([request(name, content)])
    assert (await provider.send(asked))[0].text
    await subjects.close(provider)


@every_provider
@on_its_loop
async def test_calls_at_the_same_time_have_each_their_own_reply(
    subjects: Subjects, name: str
) -> None:
    asked = [request(name, f"Say the number {number}.") for number in range(4)]
    provider = subjects.open(name)
    if name == "anthropic":
        subjects.server.script([Step(body=anthropic_answer("same"))] * 4)
    replies = await asyncio.gather(*(provider.send([one]) for one in asked))
    await subjects.close(provider)
    assert all(len(reply) == 1 and reply[0].text for reply in replies)
    if name == "openai":
        texts = [reply[0].text for reply in replies]
        assert texts == [expected_answer("m", one.messages) for one in asked]


@every_provider
@on_its_loop
async def test_it_can_be_closed_twice_used_or_not(subjects: Subjects, name: str) -> None:
    endpoint = EndpointConfig(
        model=f"{name}/{NAMES[name]}",
        base_url=subjects.server.base_url if name in ANSWERS else None,
    )
    unused = open_provider(endpoint, 1)
    await unused.aclose()
    await unused.aclose()
    used = unused if name == "local" else open_provider(endpoint, 1)
    if name != "local":  # closed weights are gone; its own file closes used ones
        asked = [request(name)]
        subjects.script_answers(name, asked)
        await used.send(asked)
    await used.aclose()
    await used.aclose()


@every_provider
@on_its_loop
async def test_a_request_is_not_changed(subjects: Subjects, name: str) -> None:
    asked = [request(name)]
    before = orjson.dumps([one.messages for one in asked])
    subjects.script_answers(name, asked)
    provider = subjects.open(name)
    await provider.send(asked)
    await subjects.close(provider)
    assert orjson.dumps([one.messages for one in asked]) == before
    assert asked[0].max_tokens == 4


def with_usage(answer: dict[str, Any], usage: Any) -> dict[str, Any]:
    return answer | {"usage": usage}


def hostile(name: str) -> dict[str, Any]:
    """Return bodies of status 200 that are no answer, by what is wrong with them."""
    answer = ANSWERS[name]
    return {
        "an empty object": {},
        "a list": [answer()],
        "null": b"null",
        "a number": 7,
        "text": "hi",
        "nothing": b"",
        "HTML": b"<html><h1>Bad gateway</h1></html>",
        "bad UTF-8": orjson.dumps(answer()).replace(b'"hi"', b'"\xff\xfe"'),
        "a lone surrogate": orjson.dumps(answer()).replace(b'"hi"', b'"\\ud800"'),
        "cut JSON": orjson.dumps(answer())[:-9],
        "NaN": orjson.dumps(answer()).replace(b"5", b"NaN"),
        "nested past parsing": b'{"content":' + b"[" * 50_000,
        "nested past writing": b'{"content":' + b"[" * 400 + b"]" * 400 + b"}",
        "an error": {"error": {"message": "overloaded", "code": 503}},
        "an error beside an answer": answer() | {"error": {"message": "overloaded"}},
        "a nested error": b'{"error":' + b"[" * 400 + b"]" * 400 + b"}",
        "no choices": answer() | {"choices": [], "content": []},
        "wrong types": answer() | {"choices": "no", "content": 7},
        "null content": answer(None),
        "a number for content": answer(7),
        "empty content": answer(""),
        "filtered": answer("half", "content_filter" if name == "openai" else "refusal"),
    }


@every_http_provider
@pytest.mark.parametrize("wrong", hostile("openai"))
@on_its_loop
async def test_a_hostile_answer_is_a_failed_call_and_nothing_else(
    subjects: Subjects, name: str, wrong: str
) -> None:
    subjects.server.script([Step(body=hostile(name)[wrong])])
    provider = subjects.open(name)
    with pytest.raises(CallFailed) as raised:
        await provider.send([request(name)])
    await subjects.close(provider)
    failure = raised.value.failure
    assert failure.kind in {"bad_response", "content_filter", "overloaded", "server_error"}
    assert not failure.stops_job
    assert "\n" not in failure.message


@every_http_provider
@on_its_loop
async def test_the_key_goes_with_the_call_and_is_masked_in_what_comes_back(
    subjects: Subjects, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-canary-0123456789"
    monkeypatch.setenv(f"{name.upper()}_API_KEY", key)
    subjects.server.script([Step(status=401, body={"error": {"message": f"bad key {key}"}})])
    provider = subjects.open(name)
    with pytest.raises(CallFailed) as raised:
        await provider.send([request(name)])
    await subjects.close(provider)
    assert key in str(subjects.server.requests[0].headers)
    assert raised.value.failure.stops_job
    assert raised.value.failure.message == "HTTP 401: bad key ***"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["tool_use", "text", "refusal", "content_filter", "length"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["text", "type"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def paths(node: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every node of a JSON value, itself included."""
    found = [above]
    if isinstance(node, dict | list):
        children = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in children:
            found += paths(child, (*above, key))
    return found


def replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = replaced(node[path[0]], path[1:], value)
    return copy


@every_http_provider
@given(data=st.data())
def test_an_answer_with_anything_anywhere_is_read_or_is_a_failed_call(
    name: str, data: st.DataObject
) -> None:
    answer: Any = ANSWERS[name]()
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([path for path in paths(answer) if path]))
        answer = replaced(answer, path, data.draw(JSON))
    try:
        reply = READERS[name](answer)
    except CallFailed:
        return
    assert reply.text or reply.tool_calls or reply.extra
    assert isinstance(reply.model, str)
    assert 0 <= reply.usage.input_tokens <= 3 * MAX_COUNT
    outcome = Outcome(row=Row(index=0, request=request(name)), reply=reply, attempts=1)
    for output_format in typing.get_args(OutputFormat):
        assert orjson.loads(encode(line_of(outcome), output_format))


OPENED_THEN_CALLED = """
import asyncio, sys
from llmscale.config import EndpointConfig
from llmscale.core.errors import CallFailed
from llmscale.providers import open_provider
from llmscale.core.records import Request

async def call():
    provider = open_provider(EndpointConfig(model=sys.argv[1], base_url="http://127.0.0.1:1"), 1)
    print("aiohttp" in sys.modules)
    try:
        await provider.send([Request(model=sys.argv[1], messages=[])])
    except CallFailed as error:
        print(error.failure.kind, "aiohttp" in sys.modules)
    await provider.aclose()

asyncio.run(call())
"""


@every_http_provider
def test_the_http_client_is_loaded_at_the_first_call_and_not_when_an_endpoint_is_opened(
    name: str,
) -> None:
    """It takes a tenth of a second, which a run that finds all in the cache can do without."""
    arguments = [sys.executable, "-c", OPENED_THEN_CALLED, f"{name}/m"]
    ended = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.stdout.splitlines(), ended.stderr) == (["False", "connection True"], "")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("", "names no model; write one of openai/..., anthropic/..."),
        ("openai", "names no model; write one of openai/..., anthropic/..."),
        ("openai/", "names no model; write one of openai/..., anthropic/..."),
        ("gpt-4o", "has no provider; did you mean openai/gpt-4o?"),
        ("text-embedding-3-small", "did you mean openai/text-embedding-3-small?"),
        ("claude-sonnet-4", "has no provider; did you mean anthropic/claude-sonnet-4?"),
        ("/models/x.gguf", "has no provider; did you mean local//models/x.gguf?"),
        ("azure/x", "no known provider; use one of .* any server with the OpenAI API openai/x"),
        ("OpenAI/x", "for any server with the OpenAI API openai/x with --base-url URL"),
        ("llama3", "for any server with the OpenAI API openai/llama3 with --base-url URL"),
    ],
)
def test_a_model_of_no_known_provider_is_one_sentence_with_what_to_write(
    model: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence).replace(r"\.\*", ".*")):
        split_model(model)


def test_the_name_of_a_model_begins_behind_the_first_slash() -> None:
    assert split_model("openai/meta/llama") == ("openai", "meta/llama")
    assert split_model("local//path/model.gguf") == ("local", "/path/model.gguf")
