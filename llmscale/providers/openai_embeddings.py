"""Embeddings of OpenAI, and of every server that speaks the same: vLLM, Ollama, llama.cpp.

Wire format: https://platform.openai.com/docs/api-reference/embeddings/create
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmscale.config import EndpointConfig
from llmscale.errors import CallFailed
from llmscale.providers.failures import bad_response
from llmscale.providers.http import HttpEndpoint, HttpProvider
from llmscale.providers.openai import BASE_URL, address_of, count, text_or_empty
from llmscale.records import Reply, Request, Usage
from llmscale.vectors import LITTLE_FLOAT32, fault_of, from_base64

MAX_DIMENSIONS = 65_536


class OpenAIEmbeddings(HttpProvider):
    """One address that answers embeddings."""

    def __init__(self, base_url: str = BASE_URL, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__(HttpEndpoint(f"{base_url.rstrip('/')}/embeddings", headers, key))

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Embed all texts in one call. Raises `CallFailed`."""
        return replies_of(await self._http.post(_body(requests)), requests)


def open_endpoint(
    name: str, endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str]
) -> OpenAIEmbeddings:
    """Open the endpoint; the name and the capacity are the caller's business."""
    del name, capacity
    return OpenAIEmbeddings(*address_of(endpoint, allow_hosts))


def _body(requests: Sequence[Request]) -> dict[str, Any]:
    first = requests[0]
    body: dict[str, Any] = {
        "model": first.model.partition("/")[2],
        "input": [request.text for request in requests],
        "encoding_format": "base64",  # a third of the bytes, and exact; numbers are read as well
    }
    if first.dimensions is not None:
        body["dimensions"] = first.dimensions
    return body | (first.extra or {})


def replies_of(answer: Mapping[str, Any], requests: Sequence[Request]) -> list[Reply]:
    """Read a list of embeddings: each goes to the text that its `index` names.

    Raises `CallFailed` where one is missing, double, of another length than the others, no number
    or zero: a vector in the wrong place would never be found out later.
    """
    try:
        items = answer["data"]
        vectors = {item["index"]: _vector(item["embedding"]) for item in items}
        total = count((answer.get("usage") or {}).get("prompt_tokens"))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CallFailed(bad_response(f"not a list of embeddings ({reason})")) from None
    is_one_each = len(items) == len(requests) and vectors.keys() == set(range(len(requests)))
    if not is_one_each or set(map(type, vectors)) != {int}:  # True is 1
        message = f"{len(requests)} texts were sent, and {len(items)} vectors came, not one each"
        raise CallFailed(bad_response(message))
    fault = fault_of(list(vectors.values()), requests[0].dimensions)
    if fault is not None:
        raise CallFailed(bad_response(fault))
    model = text_or_empty(answer.get("model"))
    return [
        Reply(
            text=None,
            finish_reason="stop",
            model=model,
            usage=Usage(input_tokens=tokens),
            vector=vectors[index],
        )
        for index, tokens in enumerate(_shares(total, requests))
    ]


def _vector(embedding: Any) -> bytes:
    if isinstance(embedding, str):
        return from_base64(embedding)
    if not isinstance(embedding, list) or len(embedding) > MAX_DIMENSIONS:
        raise ValueError("an embedding is no list of numbers")
    numbers = np.array(embedding, np.float64)
    if numbers.ndim != 1:
        raise ValueError("an embedding is no list of numbers")
    with np.errstate(over="ignore"):  # what float32 can't hold is found out as infinite
        return numbers.astype(LITTLE_FLOAT32).tobytes()


def _shares(total: int, requests: Sequence[Request]) -> list[int]:
    """Divide the tokens of a call among its texts, by their lengths; the sum stays the same."""
    lengths = [len(request.text or "") for request in requests]
    whole = sum(lengths) or 1
    shares, given, seen = [], 0, 0
    for length in lengths:
        seen += length
        upto = total * seen // whole
        shares.append(upto - given)
        given = upto
    return shares
