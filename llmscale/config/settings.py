"""The settings of a command as one frozen value, and the rules about each of them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

DEFAULT_MODEL = "local/smollm2"

FLAG_ONLY = frozenset(
    {"inputs", "output", "report", "limit", "overwrite", "allow_host", "quiet", "verbose"}
)
"""What only the command line may say: a file found in a folder must not decide these."""

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

PositiveInt = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: typed, closed, immutable."""


class EndpointConfig(_Table, frozen=True, kw_only=True):
    """Where calls go: one model behind one address. Load and health are counted by endpoint."""

    model: str  # "provider/name"
    base_url: str | None = None
    api_key_env: str | None = None  # the name of a variable, never a key
    capacity: PositiveInt | None = None  # calls in flight; None: what suits the provider
    rpm: float | str | None = None  # requests a minute, or "10/s"; None: no limit
    tpm: float | str | None = None  # tokens a minute, in and out


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
    # what was answered before
    cache_mode: Literal["off", "on", "read", "write", "refresh"] = "on"
    cache_dir: str | None = None  # None: the user's cache folder
    cache_ttl: str | None = None  # "7d"; None: for ever
    cache_max_size: str = "10GB"
    # what is read and written
    inputs: tuple[str, ...] = ()
    output: str | None = None
    output_format: Literal["auto", "llmscale", "openai-batch"] = "auto"
    report: str | None = None
    limit: PositiveInt | None = None
    overwrite: bool = False
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
