"""How many tokens a call will take, estimated before it is sent and offline.

A ratio of characters to a token for each model, corrected by what the provider reports. Good to
some ten percent; never a bill.
"""

from collections.abc import Sequence

import orjson

from llmscale.core.records import Reply, Request

CHARACTERS_PER_TOKEN = 4.0  # English text with the tokenizers of today
OUTPUT_TOKENS = 256.0  # of an answer without a bound, before any is seen
_LEARNING_RATE = 0.1


class TokenEstimate:
    """Learns how long the texts and the answers of one model are."""

    def __init__(self) -> None:
        self._characters_per_token = CHARACTERS_PER_TOKEN
        self._output_tokens = OUTPUT_TOKENS

    def of(self, requests: Sequence[Request]) -> int:
        """Return the tokens of a call, input and output."""
        return sum(self._of(request) for request in requests)

    def of_text(self, text: str) -> int:
        """Return the tokens of a text that is to be embedded."""
        return 1 + int(len(text) / self._characters_per_token)

    def learn(self, requests: Sequence[Request], replies: Sequence[Reply]) -> None:
        """Correct the ratios by what a call has taken."""
        for request, reply in zip(requests, replies, strict=True):
            self.learn_ratio(characters(request), reply.usage.input_tokens)
            self._output_tokens += _LEARNING_RATE * (
                reply.usage.output_tokens - self._output_tokens
            )

    def learn_ratio(self, characters: int, tokens: int) -> None:
        """Correct the characters of a token by what texts have taken; 0 tokens say nothing."""
        if tokens:
            seen = characters / tokens
            self._characters_per_token += _LEARNING_RATE * (seen - self._characters_per_token)

    def _of(self, request: Request) -> int:
        output_tokens = self._output_tokens if request.text is None else 0.0
        if request.max_tokens is not None:
            output_tokens = min(output_tokens, request.max_tokens)
        return 1 + int(characters(request) / self._characters_per_token + output_tokens)


def characters(request: Request) -> int:
    """Return the length of what is sent, as JSON."""
    if request.text is not None:
        return len(request.text)
    return len(orjson.dumps(request.messages)) + (
        len(orjson.dumps(request.tools)) if request.tools else 0
    )
