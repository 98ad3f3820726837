"""Embeddings over HTTP: each vector to its own text, and nothing that is none (case P12)."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from llmscale.accounting.stats import Stats
from llmscale.accounting.tokens import TokenEstimates
from llmscale.core.errors import CallFailed
from llmscale.core.records import Request, Usage
from llmscale.engine.layers.batcher import Batcher
from llmscale.engine.layers.batches import BatchCaps
from llmscale.engine.layers.text_weights import TextWeights
from llmscale.providers.openai_embeddings import (
    Embedding,
    EmbeddingsAnswer,
    OpenAIEmbeddings,
    replies_of,
)
from tests.engine.answering import answer
from tests.servers.embeddings import EmbeddingServer, Item, expected_vector

TEXTS = [f"text number {n}" for n in range(50)]


def request(text: str, **fields: Any) -> Request:
    return Request(model="openai/v", text=text, **fields)


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with EmbeddingServer() as one:
        yield one


@pytest.fixture
async def provider(server: EmbeddingServer) -> AsyncIterator[OpenAIEmbeddings]:
    one = OpenAIEmbeddings(server.base_url)
    yield one
    await one.aclose()


async def vectors(provider: OpenAIEmbeddings, texts: list[str]) -> list[bytes | None]:
    return [reply.vector for reply in await provider.send([request(text) for text in texts])]


async def test_every_text_gets_its_own_vector(provider: OpenAIEmbeddings) -> None:
    assert await vectors(provider, TEXTS) == [expected_vector(text) for text in TEXTS]


async def test_all_texts_go_out_in_one_call_with_model_and_dimensions(
    server: EmbeddingServer, provider: OpenAIEmbeddings
) -> None:
    asked = [request(text, dimensions=16, extra={"user": "x"}) for text in TEXTS[:3]]
    replies = await provider.send(asked)
    assert [reply.vector for reply in replies] == [expected_vector(t, 16) for t in TEXTS[:3]]
    (received,) = server.requests
    assert received.path == "/v1/embeddings"
    assert received.body == {
        "model": "v",
        "input": TEXTS[:3],
        "encoding_format": "base64",
        "dimensions": 16,
        "user": "x",
    }


async def test_vectors_that_come_as_numbers_are_read_too(
    server: EmbeddingServer, provider: OpenAIEmbeddings
) -> None:
    def as_numbers(items: list[Item]) -> list[Item]:
        return [
            item | {"embedding": np.frombuffer(expected_vector(text), "<f4").tolist()}
            for item, text in zip(items, TEXTS, strict=False)
        ]

    server.distort = as_numbers
    assert await vectors(provider, TEXTS[:5]) == [expected_vector(text) for text in TEXTS[:5]]


async def test_base64_whose_slashes_are_escaped_is_read_too(
    server: EmbeddingServer, provider: OpenAIEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = EmbeddingServer.response_body

    def escaped(*args: Any) -> bytes:
        return written(*args).replace(b"/", b"\\/")

    monkeypatch.setattr(EmbeddingServer, "response_body", escaped)
    assert any("/" in base64.b64encode(expected_vector(text)).decode() for text in TEXTS)
    assert await vectors(provider, TEXTS) == [expected_vector(text) for text in TEXTS]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"error": {"message": "as scripted"}}', "as scripted"),
        (b'{"data": [], "error": {"message": "as scripted"}}', "as scripted"),
        (b'{"data": [], "usage": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "JSON"),
        (b'{"data": [], "usage": ' + b"[" * 200 + b"]" * 200 + b"}", "one each|a list of"),
        (b'{"data": [], "model": "\xff"}', "not JSON"),
        (b'{"data": [', "not JSON"),
        (b'{"data": {}}', "not a list of embeddings"),
        (b'{"data": [{"index": 0, "embedding": "%"}]}', "not a list of embeddings"),
        (b"[]", "not a JSON object"),
    ],
)
async def test_a_200_that_holds_no_embeddings_says_what_it_is(
    body: bytes,
    says: str,
    server: EmbeddingServer,
    provider: OpenAIEmbeddings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EmbeddingServer, "response_body", lambda *_: body)
    with pytest.raises(CallFailed, match=says):
        await vectors(provider, TEXTS)


async def test_vectors_are_placed_by_their_index_and_not_by_their_order(
    server: EmbeddingServer, provider: OpenAIEmbeddings
) -> None:
    server.distort = lambda items: items[::-1]
    assert await vectors(provider, TEXTS) == [expected_vector(text) for text in TEXTS]


async def test_vectors_without_any_index_are_placed_by_their_order(
    server: EmbeddingServer, provider: OpenAIEmbeddings
) -> None:
    server.distort = lambda items: [{"embedding": item["embedding"]} for item in items]
    assert await vectors(provider, TEXTS) == [expected_vector(text) for text in TEXTS]


def as_vector(numbers: list[float]) -> Callable[[list[Item]], list[Item]]:
    return lambda items: [*items[:-1], items[-1] | {"embedding": numbers}]


@pytest.mark.parametrize(
    "distort",
    [
        lambda items: items[:-1],
        lambda items: [*items, items[0]],
        lambda items: [*items, items[0] | {"index": 50}],
        lambda items: [*items[:-1], items[0]],
        lambda items: [item | {"index": item["index"] + 1} for item in items],
        lambda items: [item | {"index": str(item["index"])} for item in items],
        lambda items: [item | {"index": True} for item in items],
        lambda items: [{"embedding": items[0]["embedding"]}, *items[1:]],
        lambda items: [],
        lambda items: {"0": items[0]},
        as_vector([0.1] * 63),
        as_vector([0.0] * 64),
        as_vector([0.1] * 63 + [1e39]),
        as_vector([]),
        as_vector(["x"] * 64),  # type: ignore[list-item]
        as_vector("not base64!"),  # type: ignore[arg-type]
        as_vector("AAA="),  # type: ignore[arg-type]
        as_vector([[0.1] * 64]),  # type: ignore[list-item]
        as_vector(None),  # type: ignore[arg-type]
    ],
)
async def test_vectors_that_are_not_one_right_one_for_each_text_are_no_answer(
    server: EmbeddingServer, provider: OpenAIEmbeddings, distort: Callable[[list[Item]], list[Item]]
) -> None:
    server.distort = distort
    with pytest.raises(CallFailed) as raised:
        await vectors(provider, TEXTS)
    assert raised.value.failure.kind == "bad_response"
    assert raised.value.failure.retryable


async def test_a_vector_that_is_no_number_is_no_answer() -> None:
    answer = EmbeddingsAnswer([Embedding(0, [float("nan")] * 4)], usage={})
    with pytest.raises(CallFailed, match="no finite number"):
        replies_of(answer, [request("x")])


async def test_other_dimensions_than_were_asked_for_are_no_answer() -> None:
    answer = EmbeddingsAnswer([Embedding(0, [0.1] * 4)], usage={})
    with pytest.raises(CallFailed, match="vectors of 4 numbers came, not of 8"):
        replies_of(answer, [request("x", dimensions=8)])


def test_the_tokens_of_a_call_are_divided_by_length_and_add_up() -> None:
    asked = [request("x" * size) for size in (1, 10, 100)]
    items = [Embedding(n, [0.5]) for n in range(3)]
    replies = replies_of(EmbeddingsAnswer(items, usage={"prompt_tokens": 100}), asked)
    tokens = [reply.usage.input_tokens for reply in replies]
    assert sum(tokens) == 100
    assert tokens == sorted(tokens)
    assert replies[0].usage == Usage(input_tokens=tokens[0])


async def test_one_bad_text_in_fifty_is_found_in_thirteen_calls_and_the_others_are_embedded(
    server: EmbeddingServer, provider: OpenAIEmbeddings
) -> None:
    server.refused = {TEXTS[17]: "invalid_input"}
    bridge = Batcher(provider, BatchCaps(wait_s=0.05), TextWeights(TokenEstimates()), Stats())

    async def ask(text: str) -> bytes | None:
        try:
            return (await answer(bridge, request(text))).vector
        except CallFailed:
            return None

    found = await asyncio.gather(*(ask(text) for text in TEXTS))
    assert found == [None if n == 17 else expected_vector(text) for n, text in enumerate(TEXTS)]
    assert len(server.requests) <= 13
