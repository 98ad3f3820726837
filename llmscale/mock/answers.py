"""The only right answer to a question, as OpenAI would send it: a function of the question.

So a lost, shifted or twice asked row is found by looking. Nothing random, and nothing remembered.
"""

import base64
import hashlib
import time
from functools import partial

import numpy as np
import orjson

from llmscale.core.vectors import LITTLE_FLOAT32, numbers_of
from llmscale.mock.requests import FULL_ANSWER_TOKENS, USUAL_DIMENSIONS, MockRequest, texts_of


def answer_to(question: MockRequest, finish_reason: str | None = None) -> bytes:
    """Return the body of the answer.

    `finish_reason`: what a chat answer says instead of the truth; any but stop halves its text.
    """
    return _completion(question, finish_reason) if question.kind == "chat" else _vectors(question)


def models_body(names: list[str]) -> bytes:
    """Return the list of models; questions to any other are answered too."""
    entry = {"object": "model", "created": 0, "owned_by": "llmscale"}
    return orjson.dumps({"object": "list", "data": [{"id": name, **entry} for name in names]})


def vector_of(text: str | list[int], dimensions: int = USUAL_DIMENSIONS) -> bytes:
    """Return the vector of a text or of token ids: of length 1, as float32, little-endian."""
    raw = text.encode() if isinstance(text, str) else orjson.dumps(text)
    drawn = hashlib.shake_256(raw).digest(4 * dimensions)
    numbers = np.frombuffer(drawn, "<i4").astype(np.float64)
    return bytes((numbers / np.linalg.norm(numbers)).astype(LITTLE_FLOAT32).tobytes())


def _completion(question: MockRequest, finish_reason: str | None) -> bytes:
    tokens = question.answer_tokens
    text = "A:" + question.key
    is_whole = tokens == FULL_ANSWER_TOKENS
    text = text if is_whole else text[: 4 * tokens]
    if finish_reason not in (None, "stop"):
        text = text[: len(text) // 2]
    return orjson.dumps(
        {
            "id": "chatcmpl-" + question.key,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": question.model,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": text,
                        "refusal": None,
                    },
                    "logprobs": None,
                    "finish_reason": finish_reason or ("stop" if is_whole else "length"),
                }
            ],
            "usage": {
                "prompt_tokens": question.prompt_tokens,
                "completion_tokens": tokens,
                "total_tokens": question.tokens,
            },
        }
    )


def _vectors(question: MockRequest) -> bytes:
    dimensions = question.body.get("dimensions") or USUAL_DIMENSIONS
    written = _as_base64 if question.body.get("encoding_format") == "base64" else numbers_of
    embedded = map(partial(vector_of, dimensions=dimensions), texts_of(question.body))
    data = [
        {"object": "embedding", "index": index, "embedding": written(vector)}
        for index, vector in enumerate(embedded)
    ]
    usage = {"prompt_tokens": question.tokens, "total_tokens": question.tokens}
    answer = {"object": "list", "data": data, "model": question.model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _as_base64(vector: bytes) -> str:
    return base64.b64encode(vector).decode()
