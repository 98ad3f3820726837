"""A chat server whose answers are of different lengths: each a function of its prompt and model.

The tokens of an answer are drawn from a log-normal distribution by the key of the question, so
that they are the same each time, and known without asking. The model's name says the distribution:
`m-300-0.8` has a median of 300 tokens and a standard deviation of 0.8 of their logarithm. A third
number, `m-300-0.8-0.5`, is the power of the prompt's tokens that the median goes with.
"""

import math
from contextlib import AbstractContextManager
from statistics import NormalDist
from typing import Any

import orjson

from tests.servers.chat import (
    ChatServer,
    Step,
    chat_process,
    expected_answer,
    main,
    prompt_tokens,
    request_key,
)

USUAL_PROMPT = 100.0  # tokens, with which the median is as the name says
LONGEST = 1_000_000


def answer_tokens(model: str, messages: list[Any], bound: int | None = None) -> int:
    """Return how long the answer to a question is."""
    median, spread, *power = map(float, model.split("-")[1:])
    drawn = (int(request_key(model, messages)[:13], 16) + 0.5) / 16**13
    with_prompt = math.pow(prompt_tokens(messages) / USUAL_PROMPT, power[0] if power else 0.0)
    tokens = median * with_prompt * math.exp(spread * NormalDist().inv_cdf(drawn))
    return max(1, min(round(tokens), bound or LONGEST))


class LengthyServer(ChatServer):
    """The server."""

    def response_body(self, step: Step, key: str, question: dict[str, Any] | None) -> bytes:
        """Return the answer to a question, or what a step sends."""
        if step.status != 200 or step.body is not None or question is None:
            return super().response_body(step, key, question)
        model, messages = question["model"], question["messages"]
        bound = question.get("max_tokens")
        counted, tokens = prompt_tokens(messages), answer_tokens(model, messages, bound)
        message = {"role": "assistant", "content": expected_answer(model, messages)}
        reason = "length" if tokens == bound else "stop"
        return orjson.dumps(
            {
                "id": "chatcmpl-" + key,
                "object": "chat.completion",
                "created": 0,
                "model": model,
                "choices": [{"index": 0, "message": message, "finish_reason": reason}],
                "usage": {
                    "prompt_tokens": counted,
                    "completion_tokens": tokens,
                    "total_tokens": counted + tokens,
                },
            }
        )


def lengthy_process(*options: object) -> AbstractContextManager[str]:
    """Run the server in a process of its own; yields its base URL."""
    return chat_process(*options, module="tests.servers.lengthy")


if __name__ == "__main__":
    main(LengthyServer)
