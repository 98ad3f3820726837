"""The settings of a command as one frozen value of parts, and the bounds of each of them.

Users write flat names (`--cache-ttl`, `LLMSCALE_CACHE_TTL`); code reads parts (`config.cache.ttl`).
`SETTINGS` maps the one to the other and is derived from the parts.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from llmscale.core.choices import CacheMode, ChatFormatOrAuto, LogFormat, StrategyName, VectorFormat

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
"""Settings for the command line alone: a file found in a folder must not decide these."""

FILE_ONLY = frozenset({"endpoint", "price", "fallback", "limits_user", "limits_users"})
"""Tables, which only the file can hold."""

SECTIONS = ("cache", "embed", "limits")
"""Parts that are a table of the file: `[cache] ttl` is the setting `cache_ttl`."""

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
"""The settings that a job of `llmscale embed` must keep from its first run to its last."""

PositiveInt = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
PriceUsd = Annotated[float, Meta(ge=0, le=1_000_000)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of settings: typed, closed, immutable."""


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
    """What a model costs, in dollars per million tokens; takes precedence over the price list."""

    model: str  # "provider/name", or a shell pattern of it
    input: PriceUsd
    output: PriceUsd | None = None  # None: unknown, which is right for embeddings
    cached_input: PriceUsd | None = None  # None: that of other input
    cache_write: PriceUsd | None = None
    max_output: PositiveInt | None = None  # tokens that no answer exceeds; never sent

    def __post_init__(self) -> None:
        """Refuse a name that no model can have."""
        if "/" not in self.model and "*" not in self.model:
            raise ValueError(f"{self.model!r} matches no model; write provider/name, or a pattern")


class UserLimit(_Table, frozen=True, kw_only=True):
    """What the rows of one user may take."""

    rpm: float | str | None = None
    tpm: float | str | None = None
    burst: PositiveInt | None = None


class ModelsConfig(_Table, frozen=True, kw_only=True):
    """Which endpoints answer for which model."""

    model: str | None = None  # None: the first endpoint of the file, or DEFAULT_MODEL
    base_url: str | None = None
    api_key_env: str | None = None
    rpm: float | str | None = None  # of each endpoint of `model`
    tpm: float | str | None = None
    endpoint: tuple[EndpointConfig, ...] = ()
    allow_host: tuple[str, ...] = ()
    fallback: dict[str, tuple[str, ...]] = {}  # model: those that answer when it can't, in order
    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = (
        None  # rows in flight; None: what the endpoints take
    )

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


class SamplingConfig(_Table, frozen=True, kw_only=True):
    """What a request asks for; a field of a row takes precedence."""

    system: str | None = None
    template: str | None = None
    max_tokens: PositiveInt | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: str | None = None  # a file
    repair: Annotated[int, Meta(ge=0, le=20)] = 0  # times an answer that does not fit is sent back
    param: dict[str, Any] = {}  # further fields of the request's body


class BalanceConfig(_Table, frozen=True, kw_only=True):
    """How calls are spread over the endpoints of a model."""

    strategy: StrategyName = "least-loaded"
    adaptive: bool = True  # fewer calls in flight where an endpoint is saturated
    fallback_after: Seconds = 30.0  # seconds without an available endpoint


class RetryConfig(_Table, frozen=True, kw_only=True):
    """How long one attempt may take, when another one begins, and how many rows may fail."""

    timeout: Seconds = 120.0  # one attempt, seconds
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    retry_time: Seconds = 600.0  # all attempts of a row, seconds
    max_failures: int | str | None = None  # rows, or "5%"; ends a run; None: any number


class LimitsConfig(_Table, frozen=True, kw_only=True):
    """Limits of users: the values of the rows' `user`."""

    user: UserLimit | None = None  # of each user
    users: dict[str, UserLimit] = {}  # of named users; takes the place of `user`


class CostConfig(_Table, frozen=True, kw_only=True):
    """What calls cost, and what a job may cost."""

    max_cost: Annotated[float, Meta(gt=0, le=1_000_000)] | None = (
        None  # dollars, of a job over all its runs; None: no limit
    )
    price: tuple[PriceConfig, ...] = ()  # the first that matches a model


class CacheConfig(_Table, frozen=True, kw_only=True):
    """Stored answers: where they are, how long they last, and what they are used for."""

    mode: CacheMode = "on"
    dir: str | None = None  # None: the user's cache folder
    ttl: str | None = None  # "7d"; None: no expiry
    max_size: str = "10GB"


class EmbedConfig(_Table, frozen=True, kw_only=True):
    """What `llmscale embed` reads, and how texts become calls and vectors."""

    model: str | None = None  # None: DEFAULT_EMBEDDING_MODEL
    dimensions: PositiveInt | None = None  # None: what the model has
    normalize: bool = False  # L2-normalize vectors
    truncate: bool = False  # cut a text that is too long instead of failing its row
    chunk: bool = True  # split files into chunks
    chunk_tokens: PositiveInt = 256
    overlap: Annotated[int, Meta(ge=0)] = 0  # tokens that a chunk shares with the next
    include: tuple[str, ...] = ()  # patterns of files in folders; none: all
    exclude: tuple[str, ...] = ()
    batch_size: Annotated[int, Meta(ge=1, le=2048)] = 50  # texts in a call
    batch_tokens: PositiveInt = 100_000  # tokens in a call
    batch_bytes: str = "1MB"
    batch_wait: Seconds = 1.0  # seconds that a text waits for others
    vectors: VectorFormat = "numbers"


class FilesConfig(_Table, frozen=True, kw_only=True):
    """What a job reads and writes."""

    inputs: tuple[str, ...] = ()
    output: str | None = None
    export: tuple[str, ...] = ()  # further files with the vectors
    output_format: ChatFormatOrAuto = "auto"
    report: str | None = None
    limit: PositiveInt | None = None  # rows
    overwrite: bool = False


class ObserveConfig(_Table, frozen=True, kw_only=True):
    """Who watches a run: rules, alerts, and files for other programs."""

    fail_on: str | None = None  # rules; exit code 1 if one has tripped at the end
    alert_on: str = "errors>5%,call_p99>30s,stalled>60s,spend>=80%,spend>=100%"
    alert: tuple[str, ...] = ()  # targets: http(s)://..., env:NAME, exec:COMMAND
    metrics: str | None = None  # a file for Prometheus
    junit: str | None = None  # a file
    json_summary: bool = False  # the last line of stderr is JSON
    otel: bool = False  # a span for each call, to where OTEL_* says


class LoggingConfig(_Table, frozen=True, kw_only=True):
    """How much is said on stderr, and in which format."""

    quiet: bool = False
    verbose: bool = False
    log_format: LogFormat = "text"


class Config(_Table, frozen=True, kw_only=True):
    """Everything that a command needs to know, decided before it starts.

    A setting has one name for users everywhere: `max_tokens` in the file, `--max-tokens` as a flag,
    `LLMSCALE_MAX_TOKENS` in the environment. `SETTINGS` says in which part it is.
    """

    models: ModelsConfig = ModelsConfig()
    sampling: SamplingConfig = SamplingConfig()
    balance: BalanceConfig = BalanceConfig()
    retry: RetryConfig = RetryConfig()
    limits: LimitsConfig = LimitsConfig()
    cost: CostConfig = CostConfig()
    cache: CacheConfig = CacheConfig()
    embed: EmbedConfig = EmbedConfig()
    files: FilesConfig = FilesConfig()
    observe: ObserveConfig = ObserveConfig()
    logging: LoggingConfig = LoggingConfig()


class SettingPath(NamedTuple):
    """Where a setting is in a `Config`."""

    part: str
    field: str


def _places() -> Iterator[tuple[str, SettingPath]]:
    for part in msgspec.structs.fields(Config):
        prefix = f"{part.name}_" if part.name in SECTIONS else ""
        for name in part.type.__struct_fields__:
            yield f"{prefix}{name}", SettingPath(part.name, name)


SETTINGS: Mapping[str, SettingPath] = MappingProxyType(dict(_places()))
"""Every setting by the name that users give it."""


def nested(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort values by flat name into the parts of a `Config`. Raises `KeyError` for no setting."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        place = SETTINGS[name]
        parts.setdefault(place.part, {})[place.field] = value
    return parts


def value_of(config: Config, name: str) -> Any:
    """Return the value of a setting by its flat name."""
    place = SETTINGS[name]
    return getattr(getattr(config, place.part), place.field)


def with_settings(config: Config, **settings: Any) -> Config:
    """Return a copy with other values for settings, given by flat name. Checks no value."""
    parts = {
        part: msgspec.structs.replace(getattr(config, part), **values)
        for part, values in nested(settings).items()
    }
    return msgspec.structs.replace(config, **parts)
