"""An OpenAI-compatible embeddings server on loopback whose vectors are a function of the text.

So a vector that is wrong, shifted or lost is detected. Runs as the chat server does, with the same
options and the same ledger; `distort` changes what it sends.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson

from tests.servers.chat import ChatServer, Step, chat_process, main, request_key

DIMENSIONS = 64

Item = dict[str, Any]


def expected_vector(text: str, dimensions: int = DIMENSIONS) -> bytes:
    """Return the only right vector of a text, as float32, little-endian."""
    drawn = hashlib.shake_256(text.encode()).digest(4 * dimensions)
    return bytes((np.frombuffer(drawn, "<i4") / 2**31).astype("<f4").tobytes())


class EmbeddingServer(ChatServer):
    """The server; `refused`: texts for which a whole call is refused, as too long or as bad."""

    distort: Callable[[list[Item]], list[Item]] | None = None
    refused: Mapping[str, str] = MappingProxyType({})  # text: code of the error

    def is_question(self, body: object) -> bool:
        """Tell whether there are vectors for a body."""
        return isinstance(body, dict) and isinstance(body.get("input"), list)

    def key_of(self, question: Item) -> str:
        """Return the name of a question in the ledger."""
        return request_key(question.get("model"), question["input"])

    def response_body(self, step: Step, key: str, question: Item | None) -> bytes:
        """Return the vectors of a question, or what a step sends."""
        if step.status != 200 or step.body is not None or question is None:
            return super().response_body(step, key, None)
        items = [
            {"object": "embedding", "index": index, "embedding": _embedding(text, question)}
            for index, text in enumerate(question["input"])
        ]
        if self.distort is not None:
            items = self.distort(items)
        tokens = sum(max(1, len(text) // 4) for text in question["input"])
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        model = question.get("model")
        return orjson.dumps({"object": "list", "data": items, "model": model, "usage": usage})

    def _next_step(self, *, answerable: bool) -> Step:
        texts = self.requests[-1].body["input"] if self.refused and answerable else ()
        for text in texts:
            code = self.refused.get(text)
            if code is not None:
                return Step(status=400, body={"error": {"message": "as scripted", "code": code}})
        return super()._next_step(answerable=answerable)


def _embedding(text: str, question: Item) -> str | list[float]:
    vector = expected_vector(text, question.get("dimensions") or DIMENSIONS)
    if question.get("encoding_format") == "base64":
        return base64.b64encode(vector).decode()
    numbers: list[float] = np.frombuffer(vector, "<f4").tolist()
    return numbers


def embedding_process(*options: object) -> AbstractContextManager[str]:
    """Run the server in a process of its own; yields its base URL."""
    return chat_process(*options, module="tests.servers.embeddings")


if __name__ == "__main__":
    main(EmbeddingServer)
