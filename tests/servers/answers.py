"""The only right answer to a question, as the test servers send it: a function of the question.

`request_key` names a question in the ledger, so that a wrong, lost or twice asked row is found.
"""

import hashlib
import time
from typing import Any

import orjson

COMPLETION_TOKENS = 8


def request_key(model: object, messages: object) -> str:
    """Return 16 hex digits that stand for the question."""
    canonical = orjson.dumps({"model": model, "messages": messages}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:16]


def expected_answer(model: str, messages: list[Any]) -> str:
    """Return the only right answer to these messages; `model` as the server sees it."""
    return "A:" + request_key(model, messages)


def prompt_tokens(messages: list[Any]) -> int:
    """Return the tokens that the server claims for the messages: a quarter of their characters."""
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    return max(1, sum(len(text) for text in contents if isinstance(text, str)) // 4)


def answer_body(key: str, body: dict[str, Any]) -> bytes:
    """Return a whole chat completion."""
    counted = prompt_tokens(body["messages"])
    message = {"role": "assistant", "content": "A:" + key}
    return orjson.dumps(
        {
            "id": "chatcmpl-" + key,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.get("model"),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": counted,
                "completion_tokens": COMPLETION_TOKENS,
                "total_tokens": counted + COMPLETION_TOKENS,
            },
        }
    )


def error_body(status: int) -> bytes:
    """Return what goes with a status that is no success."""
    message = f"the test server was told to answer {status}"
    return orjson.dumps({"error": {"message": message, "type": "test_error", "code": None}})
