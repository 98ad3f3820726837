"""How many tokens a call will take: the one estimate, made offline and before the call is sent.

Four bytes of UTF-8 are a token until answers say otherwise; then a ratio for each model, corrected
by what its provider reports. Good to some ten percent for prose, in any script; never a bill, and
never a bound (that is `token_bounds`).
"""

import math
from collections.abc import Sequence
from typing import Any

from llmscale.core.json_text import dumps
from llmscale.core.records import Reply, Request

BYTES_PER_TOKEN = 4.0  # English: a word of 4 letters; Chinese: 4 characters are 3 tokens
MESSAGE_BYTES = 16  # four tokens around a message: its role, and the marks of a chat template
PICTURE_BYTES = 4_000  # a thousand tokens, however many bytes are sent along
OUTPUT_TOKENS = 256.0  # of an answer without a bound, before any is seen
_LEARNING_RATE = 0.1
_PLAIN_MESSAGE = {"role", "content"}


class TokenEstimate:
    """Learns how long the texts and the answers of one model are."""

    def __init__(self) -> None:
        self._bytes_per_token = BYTES_PER_TOKEN
        self._output_tokens = OUTPUT_TOKENS

    def of(self, requests: Sequence[Request]) -> int:
        """Return the tokens of a call, input and output."""
        return sum(self._of(request) for request in requests)

    def of_bytes(self, size_bytes: int) -> int:
        """Return the tokens of so many bytes of input, at least 1."""
        return max(1, math.ceil(size_bytes / self._bytes_per_token))

    def learn(self, requests: Sequence[Request], replies: Sequence[Reply]) -> None:
        """Correct the ratios by what a call has taken; 0 input tokens say nothing.

        By the whole call: what one text of a batch has taken is no more than a guess.
        """
        tokens = sum(reply.usage.input_tokens for reply in replies)
        if tokens:
            seen = sum(map(input_bytes, requests)) / tokens
            self._bytes_per_token += _LEARNING_RATE * (seen - self._bytes_per_token)
        for reply in replies:
            learned = reply.usage.output_tokens - self._output_tokens
            self._output_tokens += _LEARNING_RATE * learned

    def _of(self, request: Request) -> int:
        input_tokens = self.of_bytes(input_bytes(request))
        if request.text is not None:
            return input_tokens
        output_tokens = self._output_tokens
        if request.max_tokens is not None:
            output_tokens = min(output_tokens, request.max_tokens)
        return input_tokens + int(output_tokens)


class TokenEstimates:
    """The estimates of a session, one for each model.

    Whoever needs one reads it here; only the balancer, which sees every call once, teaches it.
    """

    def __init__(self) -> None:
        self._of_model: dict[str, TokenEstimate] = {}

    def __getitem__(self, model: str) -> TokenEstimate:
        """Return the estimate of a model."""
        estimate = self._of_model.get(model)
        if estimate is None:
            estimate = self._of_model[model] = TokenEstimate()
        return estimate

    def in_use(self, model: str) -> TokenEstimate | None:
        """Return the estimate of a model, None where nobody has read it."""
        return self._of_model.get(model)


def estimated_tokens(text: str) -> int:
    """Return the tokens of a text for which no model is known, rounded up."""
    return math.ceil(text_bytes(text) / BYTES_PER_TOKEN)


def estimated_input_tokens(request: Request) -> int:
    """Return the tokens of the input of a request whose model is not known, at least 1."""
    return max(1, math.ceil(input_bytes(request) / BYTES_PER_TOKEN))


def input_bytes(request: Request) -> int:
    """Return the size of what a model reads, in bytes of UTF-8."""
    if request.text is not None:
        return text_bytes(request.text)
    tools_bytes = len(dumps(request.tools)) if request.tools else 0
    return tools_bytes + sum(map(_message_bytes, request.messages))


def text_bytes(text: str) -> int:
    """Return the length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _message_bytes(message: Any) -> int:
    if not isinstance(message, dict) or "content" not in message:
        return len(dumps(message))  # calls of tools, or what a server will refuse
    size_bytes = MESSAGE_BYTES + _content_bytes(message["content"])
    if message.keys() == _PLAIN_MESSAGE:
        return size_bytes
    return size_bytes + len(dumps({**message, "content": None}))


def _content_bytes(content: Any) -> int:
    if isinstance(content, str):
        return text_bytes(content)
    return sum(map(_part_bytes, content)) if isinstance(content, list) else 0


def _part_bytes(part: Any) -> int:
    """Return the size of a text; a picture or a file in base64 is `PICTURE_BYTES` at most."""
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            return text_bytes(part["text"])
        if "content" in part:  # the result of a tool
            return _content_bytes(part["content"])
    return min(len(dumps(part)), PICTURE_BYTES)
