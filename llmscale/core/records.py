"""The values that travel: a row in, a request down, a reply up, an outcome out.

All are immutable. JSON values (messages, metadata, tools) stay as parsed and are never changed
in place. No value here knows a file, a socket or a provider.
"""

from typing import Any, Literal

import msgspec

FinishReason = str
"""`stop`, `length`, `tool_calls`, `content_filter`; a word that is not known, as it came."""

FailureKind = Literal[
    "bad_row",  # the input line can't be used
    "invalid_request",  # the provider refuses this request, and would again
    "context_length",  # the request is longer than the model takes
    "content_filter",  # the provider refuses the content, or withheld the answer
    "model_not_found",
    "schema_mismatch",  # the answer is not what --json-schema asks for
    "schema_timeout",  # whether it is took too long to tell
    "bad_response",  # an answer that is no answer: empty, malformed, cut
    "rate_limited",
    "server_error",
    "overloaded",
    "timeout",
    "connection",
    "unauthorized",  # stops the job
    "quota_exhausted",  # stops the job
    "internal",  # a fault of ours; the row is written, the job goes on
]

Limit = Literal["rpm", "rpd", "provider_rpm", "tpm", "tpd", "provider_tpm"]


SAMPLING_FIELDS = (
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "tools",
    "tool_choice",
    "response_format",
)
"""The fields of a `Request` that shape its answer, under the names that rows and chat APIs use."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call, or of many: usages add.

    `input_tokens` includes the cached ones, `output_tokens` the reasoning ones, as providers bill.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to one model: messages for an answer, or a text for a vector.

    A field that is None is left to the provider's default.
    """

    model: str  # "provider/name"
    messages: list[Any] = []  # chat messages as JSON: {"role": ..., "content": ...}
    text: str | None = None  # to be embedded; then there are no messages
    dimensions: int | None = None  # of the vector
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None  # any further field of the body, sent as it is
    sample: int = 0  # which draw of several; never sent, but each is an answer of its own


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. What is not the provider's to say is filled in by the layer that knows it."""

    text: str | None  # None only beside tool calls and vectors
    finish_reason: FinishReason
    model: str  # what the provider says has answered
    usage: Usage
    vector: bytes | None = None  # float32, little-endian
    tool_calls: list[Any] | None = None
    cost_usd: float | None = None  # None: the price is unknown
    answered_by: str = ""  # the "provider/name" that was asked
    endpoint: str = ""
    attempts: int = 1
    latency_s: float = 0.0  # of the attempt that answered
    cached: bool = False  # from the store: not paid for now
    deduped: bool = False  # from the call of another row: not paid for twice
    repairs: int = 0  # calls that sent an answer back with what was wrong with it
    extra: dict[str, Any] | None = None  # what came beside the text: `logprobs`, `audio`, ...
    unknown_counts: tuple[str, ...] = ()  # fields of `usage` that could not be read


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider classifies what went wrong. The core decides what to do about it."""

    kind: FailureKind
    message: str
    retryable: bool = False
    retry_after_s: float | None = None  # the provider's own wish, seconds from now
    status: int | None = None  # HTTP status, where there was one
    stops_job: bool = False  # no other row would fare better
    unsent: bool = False  # it never left, so nobody can have billed it
    reply: Reply | None = None  # an answer that was paid for and can't be used


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says its limits are. None: it says nothing, or nothing that is clear.

    Infinite: what it seemed to say before was no limit a minute.
    """

    requests_per_min: float | None = None
    tokens_per_min: float | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a text was found."""

    source: str  # the file, as it was named
    start: int  # characters
    end: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the input: a request, or the failure that says why it is none."""

    index: int  # 0-based over all inputs
    id: str | int | None = None
    request: Request | None = None
    failure: Failure | None = None
    user: str | None = None
    metadata: Any = None
    place: Place | None = None  # of a chunk of a file


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a row: exactly one of `reply` and `failure` is set."""

    row: Row
    reply: Reply | None = None
    failure: Failure | None = None
    attempts: int = 0
    latency_s: float = 0.0  # from being taken up to the answer: waiting and retries included
