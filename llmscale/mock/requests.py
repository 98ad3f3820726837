"""A call's body as a question: for whom, what, how many tokens; or why it is none.

Tokens are counted by one rule that anybody can check: one for every four bytes of text, rounded up.
What a question leaves out or holds beyond what is answered here is let pass.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import orjson

from llmscale.accounting.tokens import estimated_tokens

Kind = Literal["chat", "embeddings"]

MAX_TEXTS = 2048
MAX_DIMENSIONS = 4096
USUAL_DIMENSIONS = 1536


class InvalidRequest(Exception):
    """The body can't be answered; the message says why, `param` which field is to blame."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class MockRequest(msgspec.Struct, frozen=True):
    """What is asked."""

    kind: Kind
    model: str
    key: str  # 16 hex digits, which stand for model and messages, or for model and input
    prompt_tokens: int
    answer_tokens: int
    body: Mapping[str, Any]

    @property
    def tokens(self) -> int:
        """All that the answer will say it has used."""
        return self.prompt_tokens + self.answer_tokens

    def holds(self, word: str) -> bool:
        """Tell whether a word stands anywhere in what is asked."""
        asked = self.body["messages" if self.kind == "chat" else "input"]
        return orjson.dumps(word)[1:-1] in orjson.dumps(asked)


def key_of(model: str, field: str, asked: object) -> str:
    """Return the key of a question: of the canonical JSON of what it asks of whom."""
    canonical = orjson.dumps({"model": model, field: asked}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:16]


FULL_ANSWER_TOKENS = estimated_tokens("A:" + "0" * 16)


def read_request(kind: Kind, raw: bytes) -> MockRequest:
    """Read a body. Raises `InvalidRequest`."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequest("we could not parse the JSON body of your request") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the body of the request must be a JSON object")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("you must provide a model parameter", "model")
    return _chat(model, body) if kind == "chat" else _embeddings(model, body)


def _chat(model: str, body: Mapping[str, Any]) -> MockRequest:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list of at least one message", "messages")
    if body.get("stream"):
        raise InvalidRequest("this server does not stream; leave stream out", "stream")
    if body.get("n") not in (None, 1):
        raise InvalidRequest("this server gives one answer; n must be 1", "n")
    tokens = sum(_message_tokens(message) for message in messages)
    key = _key(model, "messages", messages)
    return MockRequest("chat", model, key, tokens, _answer_tokens(body), body)


def _message_tokens(message: object) -> int:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InvalidRequest("every message must be an object with a role", "messages")
    content = message.get("content")
    if isinstance(content, str):
        return estimated_tokens(content)
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return sum(estimated_tokens(text) for text in texts if isinstance(text, str))


def _answer_tokens(body: Mapping[str, Any]) -> int:
    """Return the tokens of the answer, which a client may want to be shorter."""
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    if most is None:
        return FULL_ANSWER_TOKENS
    if type(most) is not int or most < 1:
        raise InvalidRequest("max_tokens must be a whole number of at least 1", "max_tokens")
    return min(most, FULL_ANSWER_TOKENS)


def _embeddings(model: str, body: Mapping[str, Any]) -> MockRequest:
    tokens = sum(_item_tokens(item) for item in texts_of(body))
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise InvalidRequest("encoding_format must be float or base64", "encoding_format")
    dimensions = body.get("dimensions")
    if dimensions is not None and not (
        type(dimensions) is int and 1 <= dimensions <= MAX_DIMENSIONS
    ):
        raise InvalidRequest(f"dimensions must be from 1 to {MAX_DIMENSIONS}", "dimensions")
    return MockRequest("embeddings", model, _key(model, "input", body["input"]), tokens, 0, body)


def texts_of(body: Mapping[str, Any]) -> list[Any]:
    """Return the inputs, each a text or a list of token ids. Raises `InvalidRequest`."""
    asked = body.get("input")
    if isinstance(asked, str) or (isinstance(asked, list) and asked and type(asked[0]) is int):
        asked = [asked]
    if not isinstance(asked, list) or not 0 < len(asked) <= MAX_TEXTS:
        raise InvalidRequest(f"input must be a text or a list of 1 to {MAX_TEXTS} texts", "input")
    return asked


def _item_tokens(item: object) -> int:
    if isinstance(item, str) and item:
        return estimated_tokens(item)
    if isinstance(item, list) and item and all(type(token) is int for token in item):
        return len(item)
    raise InvalidRequest(
        "every item of input must be a text that is not empty, or token ids", "input"
    )


def _key(model: str, field: str, asked: object) -> str:
    try:
        return key_of(model, field, asked)
    except orjson.JSONEncodeError:  # more levels can be read than written
        raise InvalidRequest(f"{field} is nested too deeply", field) from None
