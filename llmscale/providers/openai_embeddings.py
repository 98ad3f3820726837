"""Embeddings of OpenAI, and of every server that speaks the same: vLLM, Ollama, llama.cpp.

Wire format: https://platform.openai.com/docs/api-reference/embeddings/create
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from llmscale.config import EndpointConfig
from llmscale.core.errors import CallFailed
from llmscale.core.model_name import name_at_provider
from llmscale.core.records import Reply, Request, Usage
from llmscale.core.vectors import LITTLE_FLOAT32, fault_of, of_whole_numbers
from llmscale.providers.http.counts import Counts
from llmscale.providers.http.failures import bad_response, no_answer
from llmscale.providers.http.notices import Notices
from llmscale.providers.http.provider import HttpEndpoint, HttpProvider
from llmscale.providers.openai import address_of, text_or_empty

MAX_DIMENSIONS = 65_536


class Embedding(msgspec.Struct, gc=False):
    """A vector, as base64 of little-endian float32 or as numbers, and which text it is of."""

    index: int | None = None  # None: by position
    embedding: bytes | list[float] = b""


class EmbeddingsAnswer(msgspec.Struct):
    """What is read of an answer: in one go, which takes a third of the time of JSON by itself."""

    data: list[Embedding]
    model: Any = None
    usage: Any = None
    error: Any = None


_DECODER = msgspec.json.Decoder(EmbeddingsAnswer)


class OpenAIEmbeddings(HttpProvider):
    """One address that answers embeddings."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__(HttpEndpoint(f"{base_url.rstrip('/')}/embeddings", headers, key))

        self._takes_base64 = True

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Embed all texts in one call. Raises `CallFailed`.

        A server that refuses `encoding_format` is asked without it from then on.
        """
        in_base64 = self._takes_base64  # as it is now: calls in flight may learn it meanwhile
        try:
            raw = await self._http.ask(_body(requests, in_base64=in_base64))
        except CallFailed as error:
            if not in_base64 or "encoding_format" not in error.failure.message:
                raise
            self._takes_base64 = False
            raw = await self._http.ask(_body(requests, in_base64=False))
        answer = _decoded(raw)
        if answer is None or answer.error:
            answer = _converted(self._http.read(raw))
        return replies_of(answer, requests, self._http.notices)


def open_endpoint(
    name: str, endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str]
) -> OpenAIEmbeddings:
    """Open the endpoint; the name and the capacity are the caller's business."""
    del name, capacity
    return OpenAIEmbeddings(*address_of(endpoint, allow_hosts))


def _body(requests: Sequence[Request], *, in_base64: bool) -> dict[str, Any]:
    """`in_base64`: a third of the bytes, and exact; numbers are read as well."""
    first = requests[0]
    body: dict[str, Any] = {
        "model": name_at_provider(first.model),
        "input": [request.text for request in requests],
    }
    if in_base64:
        body["encoding_format"] = "base64"
    if first.dimensions is not None:
        body["dimensions"] = first.dimensions
    return body | (first.extra or {})


def _decoded(raw: bytes) -> EmbeddingsAnswer | None:
    """Read embeddings. None: what else it is, JSON that is read in general has to tell."""
    try:
        return _DECODER.decode(raw)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None


def _converted(answer: dict[str, Any]) -> EmbeddingsAnswer:
    """Read what the decoder does not: base64 in which the slash is escaped, as some write JSON."""
    try:
        return msgspec.convert(answer, EmbeddingsAnswer)
    except ValueError as error:
        raise CallFailed(no_answer(f"not a list of embeddings ({error})", answer, "data")) from None


def replies_of(
    answer: EmbeddingsAnswer, requests: Sequence[Request], notices: Notices | None = None
) -> list[Reply]:
    """Give each vector to the text that its `index` names; without any index, by position.

    Raises `CallFailed` where one is missing, double, of another length than the others, no number
    or zero: a vector in the wrong place would never be found out later.
    """
    items = answer.data
    try:
        has_index = any(item.index is not None for item in items)
        vectors = {
            item.index if has_index else place: _vector(item.embedding)
            for place, item in enumerate(items)
        }
    except (AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CallFailed(bad_response(f"not a list of embeddings ({reason})")) from None
    if len(items) != len(requests) or vectors.keys() != set(range(len(requests))):
        message = f"{len(requests)} texts were sent, and {len(items)} vectors came, not one each"
        raise CallFailed(bad_response(message))
    fault = fault_of(list(vectors.values()), requests[0].dimensions)
    if fault is not None:
        raise CallFailed(bad_response(fault))
    model = text_or_empty(answer.model)
    counts = Counts(answer.usage)
    total = counts.read("input_tokens", "prompt_tokens")
    if counts.unknown and notices is not None:
        notices.once("unreadable token counts (input_tokens): they are unknown in the output")
    return [
        Reply(
            text=None,
            finish_reason="stop",
            model=model,
            usage=Usage(input_tokens=tokens),
            vector=vectors[index],
            unknown_counts=tuple(counts.unknown),
        )
        for index, tokens in enumerate(_shares(total, requests))
    ]


def _vector(embedding: bytes | list[float]) -> bytes:
    if isinstance(embedding, bytes):
        return of_whole_numbers(embedding)
    if len(embedding) > MAX_DIMENSIONS:
        raise ValueError(f"a vector has more than {MAX_DIMENSIONS} numbers")
    with np.errstate(over="ignore"):  # what float32 can't hold is found out as infinite
        return np.array(embedding, np.float64).astype(LITTLE_FLOAT32).tobytes()


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
