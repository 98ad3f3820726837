"""The settings of a command as one frozen value, and the rules about each of them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

DEFAULT_MODEL = "local/smollm2"
DEFAULT_EMBEDDING_MODEL = "local/wordllama"

FLAG_ONLY = frozenset(
    {
        "inputs",
        "output",
        "export",
        "report",
        "junit",
        "metrics",
        "alert",
        "json_summary",
        "limit",
        "overwrite",
        "allow_host",
        "quiet",
        "verbose",
    }
)
"""What only the command line may say: a file found in a folder must not decide these."""

FILE_ONLY = frozenset({"endpoint", "price", "fallback", "limits_user", "limits_users"})
"""Tables, which only the file can hold."""

CHANGES_ANSWERS = (
    "model",
    "system",
    "template",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "json_schema",
    "param",
    "output_format",
)
"""The settings that a job must keep from its first run to its last; the others may change."""

CHANGES_VECTORS = (
    "embed_model",
    "embed_dimensions",
    "embed_normalize",
    "embed_truncate",
    "embed_chunk",
    "embed_chunk_tokens",
    "embed_overlap",
    "embed_vectors",
    "param",
)
"""The settings that a job of `llmscale embed` must keep; of what it reads, only the content."""

PositiveInt = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
PriceUsd = Annotated[float, Meta(ge=0, le=1_000_000)]
StrategyName = Literal["least-loaded", "latency", "cost", "round-robin"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: typed, closed, immutable."""


class EndpointConfig(_Table, frozen=True, kw_only=True):
    """Where calls go: one model behind one address. Load and health are counted by endpoint."""

    model: str  # "provider/name"
    base_url: str | None = None
    api_key_env: str | None = None  # the name of a variable, never a key
    capacity: PositiveInt | None = None  # calls in flight; None: what suits the provider
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0  # its share beside the others
    rpm: float | str | None = None  # requests a minute, or "10/s"; None: no limit
    tpm: float | str | None = None  # tokens a minute, in and out
    burst: PositiveInt | None = None  # of `rpm`, requests at once; None: 1 % of it
    rpd: PositiveInt | None = None  # requests a day (UTC), counted by each run
    tpd: PositiveInt | None = None  # tokens a day


class PriceConfig(_Table, frozen=True, kw_only=True):
    """What a model costs, in dollars for a million tokens; goes before any list of prices."""

    model: str  # "provider/name", or a shell pattern of it
    input: PriceUsd
    output: PriceUsd | None = None  # None: unknown, which is right for embeddings
    cached_input: PriceUsd | None = None  # None: that of other input
    cache_write: PriceUsd | None = None
    max_output: PositiveInt | None = None  # tokens that no answer is above; never sent

    def __post_init__(self) -> None:
        """Refuse a name that no model can have."""
        if "/" not in self.model and "*" not in self.model:
            raise ValueError(f"{self.model!r} fits no model; write provider/name, or a pattern")


class UserLimit(_Table, frozen=True, kw_only=True):
    """What the rows of one user may take."""

    rpm: float | str | None = None
    tpm: float | str | None = None
    burst: PositiveInt | None = None


class Config(_Table, frozen=True, kw_only=True):
    """Everything that a command needs to know, decided before it starts.

    A field has one name everywhere: `max_tokens` here and in the file, `--max-tokens` as a flag,
    `LLMSCALE_MAX_TOKENS` in the environment.
    """

    # where calls go
    model: str | None = None  # None: the first endpoint of the file, or DEFAULT_MODEL
    base_url: str | None = None
    api_key_env: str | None = None
    rpm: float | str | None = None  # of each endpoint of `model`
    tpm: float | str | None = None
    endpoint: tuple[EndpointConfig, ...] = ()
    allow_host: tuple[str, ...] = ()
    strategy: StrategyName = "least-loaded"  # which endpoint of several takes a call
    adaptive: bool = True  # less in flight where an endpoint is saturated
    fallback: dict[str, tuple[str, ...]] = {}  # model: those that answer when it can't, in order
    fallback_after: Seconds = 30.0  # seconds without an endpoint
    limits_user: UserLimit | None = None  # of each value of the rows' `user`
    limits_users: dict[str, UserLimit] = {}  # of those that are named
    max_cost: Annotated[float, Meta(gt=0, le=1_000_000)] | None = (
        None  # dollars, of a job over all its runs; None: whatever it takes
    )
    price: tuple[PriceConfig, ...] = ()  # the first that fits a model
    # what is asked; a field of a row wins
    system: str | None = None
    template: str | None = None
    max_tokens: PositiveInt | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: str | None = None  # a file
    param: dict[str, Any] = {}  # further fields of the request's body
    # how it is asked
    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = (
        None  # rows in flight; None: what the endpoints take
    )
    timeout: Seconds = 120.0  # one attempt, seconds
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    retry_time: Seconds = 600.0  # all attempts of a row together, seconds
    # what is embedded, and how: `llmscale embed`
    embed_model: str | None = None  # None: DEFAULT_EMBEDDING_MODEL
    embed_dimensions: PositiveInt | None = None  # None: what the model has
    embed_normalize: bool = False  # vectors of the length 1
    embed_truncate: bool = False  # a text that is too long is cut instead of failing
    embed_chunk: bool = True  # files are cut into chunks
    embed_chunk_tokens: PositiveInt = 256
    embed_overlap: Annotated[int, Meta(ge=0)] = 0  # tokens that a chunk shares with the next
    embed_include: tuple[str, ...] = ()  # patterns of files in folders; none: all
    embed_exclude: tuple[str, ...] = ()
    embed_batch_size: Annotated[int, Meta(ge=1, le=2048)] = 50  # texts in a call
    embed_batch_tokens: PositiveInt = 100_000  # tokens in a call
    embed_batch_bytes: str = "1MB"
    embed_batch_wait: Seconds = 1.0  # seconds that a text waits for others
    embed_vectors: Literal["numbers", "base64"] = "numbers"
    # what was answered before
    cache_mode: Literal["off", "on", "read", "write", "refresh"] = "on"
    cache_dir: str | None = None  # None: the user's cache folder
    cache_ttl: str | None = None  # "7d"; None: for ever
    cache_max_size: str = "10GB"
    # what is read and written
    inputs: tuple[str, ...] = ()
    output: str | None = None
    export: tuple[str, ...] = ()  # further files with the vectors
    output_format: Literal["auto", "llmscale", "openai-batch"] = "auto"
    report: str | None = None
    limit: PositiveInt | None = None
    overwrite: bool = False
    # who hears of it: alerts, and files for other programs
    fail_on: str | None = None  # rules; one that has tripped at the end is exit code 1
    alert_on: str = "errors>5%,call_p99>30s,stalled>60s,spend>=80%,spend>=100%"
    alert: tuple[str, ...] = ()  # who is told: http(s)://..., env:NAME, exec:COMMAND
    metrics: str | None = None  # a file for Prometheus
    junit: str | None = None  # a file
    json_summary: bool = False  # the last line of stderr is JSON
    otel: bool = False  # a span for each call, to where OTEL_* says
    # what is said on the way
    quiet: bool = False
    verbose: bool = False
    log_format: Literal["text", "json"] = "text"

    @property
    def default_model(self) -> str:
        """The model of a row that names none."""
        if self.model is not None:
            return self.model
        return self.endpoint[0].model if self.endpoint else DEFAULT_MODEL

    def endpoints(self) -> tuple[EndpointConfig, ...]:
        """Return the endpoints of the file, and first among them the one that the flags name.

        `api_key_env`, `rpm` and `tpm` go to all endpoints of the default model.
        """
        named = EndpointConfig(
            model=self.default_model, base_url=self.base_url, api_key_env=self.api_key_env
        )
        pool = self.endpoint
        if self.base_url is not None or all(e.model != named.model for e in pool):
            pool = (named, *(e for e in pool if e.model != named.model))
        return tuple(self._overridden(e) if e.model == named.model else e for e in pool)

    def _overridden(self, endpoint: EndpointConfig) -> EndpointConfig:
        names = ("api_key_env", "rpm", "tpm")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(endpoint, **given)
