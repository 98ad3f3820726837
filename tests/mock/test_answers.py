"""The answers: functions of the questions, in OpenAI's shapes, with usage that can be checked."""

import base64
from typing import Any

import numpy as np
import orjson
import pytest

from llmscale.accounting.tokens import estimated_tokens
from llmscale.mock.answers import answer_to, vector_of
from llmscale.mock.requests import MAX_TEXTS, InvalidRequest, read_request
from tests.mock.client import EMBEDDINGS, HELLO, serving
from tests.servers.chat import expected_answer

USER = [{"role": "user", "content": "What is 2 squared?"}]


def answered(kind: Any, body: object) -> Any:
    return orjson.loads(answer_to(read_request(kind, orjson.dumps(body))))


def test_an_answer_is_the_hash_of_model_and_messages() -> None:
    answer = answered("chat", {"model": "a", "messages": USER, "temperature": 0.3})
    assert answer["choices"][0]["message"]["content"] == expected_answer("a", USER)
    assert answer["model"] == "a"
    assert expected_answer("a", USER) != expected_answer("b", USER)


def test_an_answer_with_another_finish_reason_has_half_its_text() -> None:
    question = read_request("chat", orjson.dumps({"model": "a", "messages": USER}))
    choice = orjson.loads(answer_to(question, "error"))["choices"][0]
    whole = expected_answer("a", USER)
    assert (choice["finish_reason"], choice["message"]["content"]) == ("error", whole[:9])


def test_usage_is_a_token_for_every_four_bytes_rounded_up() -> None:
    messages = [
        {"role": "system", "content": "é" * 5},
        {"role": "user", "content": [{"type": "text", "text": "abcd"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None},
    ]
    usage = answered("chat", {"model": "a", "messages": messages})["usage"]
    assert usage == {"prompt_tokens": 3 + 1, "completion_tokens": 5, "total_tokens": 9}
    assert estimated_tokens("A:" + "0" * 16) == 5


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_no_longer_than_asked_for_and_says_so(field: str) -> None:
    answer = answered("chat", {"model": "a", "messages": USER, field: 2})
    choice = answer["choices"][0]
    assert choice["message"]["content"] == expected_answer("a", USER)[:8]
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


def test_a_vector_is_a_function_of_its_text_and_of_length_1() -> None:
    body = {"model": "a", "input": ["x", "y", "x"], "dimensions": 8}
    data = answered("embeddings", body)["data"]
    assert [item["index"] for item in data] == [0, 1, 2]
    assert data[0]["embedding"] == data[2]["embedding"] != data[1]["embedding"]
    assert np.linalg.norm(data[0]["embedding"]) == pytest.approx(1)
    assert np.array(data[1]["embedding"], "<f4").tobytes() == vector_of("y", 8)


def test_vectors_as_base64_are_the_same_numbers() -> None:
    body = {"model": "a", "input": "x", "dimensions": 8, "encoding_format": "base64"}
    (item,) = answered("embeddings", body)["data"]
    assert base64.b64decode(item["embedding"]) == vector_of("x", 8)


def test_a_shorter_vector_points_where_the_longer_one_begins() -> None:
    long = np.frombuffer(vector_of("x", 64), "<f4")[:16]
    short = np.frombuffer(vector_of("x", 16), "<f4")
    assert np.allclose(long / np.linalg.norm(long), short)


def test_tokens_can_be_embedded_and_are_counted() -> None:
    one = answered("embeddings", {"model": "a", "input": [1, 2, 3]})
    two = answered("embeddings", {"model": "a", "input": [[1, 2, 3], [4]]})
    assert one["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert two["usage"]["prompt_tokens"] == 4
    assert one["data"][0] == two["data"][0]
    assert len(one["data"][0]["embedding"]) == 1536


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        ("chat", [], None),
        ("chat", {"messages": USER}, "model"),
        ("chat", {"model": 1, "messages": USER}, "model"),
        ("chat", {"model": "a"}, "messages"),
        ("chat", {"model": "a", "messages": []}, "messages"),
        ("chat", {"model": "a", "messages": ["x"]}, "messages"),
        ("chat", {"model": "a", "messages": [{"content": "x"}]}, "messages"),
        ("chat", {"model": "a", "messages": USER, "stream": True}, "stream"),
        ("chat", {"model": "a", "messages": USER, "n": 2}, "n"),
        ("chat", {"model": "a", "messages": USER, "max_tokens": 0}, "max_tokens"),
        ("chat", {"model": "a", "messages": USER, "max_tokens": True}, "max_tokens"),
        ("embeddings", {"model": "a"}, "input"),
        ("embeddings", {"model": "a", "input": []}, "input"),
        ("embeddings", {"model": "a", "input": ""}, "input"),
        ("embeddings", {"model": "a", "input": ["x", None]}, "input"),
        ("embeddings", {"model": "a", "input": [[]]}, "input"),
        ("embeddings", {"model": "a", "input": ["x"] * (MAX_TEXTS + 1)}, "input"),
        ("embeddings", {"model": "a", "input": "x", "dimensions": 0}, "dimensions"),
        ("embeddings", {"model": "a", "input": "x", "dimensions": 5000}, "dimensions"),
        ("embeddings", {"model": "a", "input": "x", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_what_is_no_question_is_refused_naming_the_field(
    kind: Any, body: object, param: str | None
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_request(kind, orjson.dumps(body))
    assert refused.value.param == param


def test_messages_that_are_nested_too_deeply_are_no_question() -> None:
    deep = b"[" * 400 + b"]" * 400
    raw = b'{"model":"a","messages":[{"role":"user","content":' + deep + b"}]}"
    with pytest.raises(InvalidRequest, match="nested"):
        read_request("chat", raw)


async def test_all_three_paths_are_served() -> None:
    async with serving() as served:
        client = await served.connect()
        chat = await client.ask()
        embedded = await client.ask({"model": "m", "input": "x"}, EMBEDDINGS)
        models = await client.ask(b"", "/v1/models", method="GET")
    assert chat.text == expected_answer("m", HELLO["messages"])  # type: ignore[arg-type]
    assert embedded.json["object"] == models.json["object"] == "list"
    assert [model["id"] for model in models.json["data"]] == ["mock"]
