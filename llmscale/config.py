"""One frozen `Config` from flags, environment, file and defaults, in that order.

Reads `llmscale.toml` and `LLMSCALE_*`; never a key (those stay in the environment until a provider
asks for them by name) and never the input.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec
import orjson
from msgspec import Meta

from llmscale.errors import ConfigError
from llmscale.units import duration_s, per_minute, size_bytes

CONFIG_FILE = "llmscale.toml"
ENV_PREFIX = "LLMSCALE_"
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

_OWN_FIELDS = frozenset({"model", "messages", "stream", "n", "temperature", "top_p", "max_tokens"})

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


class _Setting(msgspec.Struct, frozen=True):
    """A value and the words by which its origin is named in a complaint."""

    value: Any
    origin: str


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ, file: str | None = None
) -> Config:
    """Merge flag > environment > file > default. A flag that is None was not given.

    Raises `ConfigError` naming the setting, where it was set, and what it takes.
    """
    settings = _from_file(file) | _from_environ(environ) | _from_flags(flags)
    try:
        config = msgspec.convert(
            {name: setting.value for name, setting in settings.items()}, Config, strict=False
        )
    except msgspec.ValidationError as error:
        raise ConfigError(_complaint(str(error), settings)) from None
    for name, setting in settings.items():
        _check_writable(name, setting)
    _check_units(config, settings)
    if config.param:
        _check_params(config.param, settings["param"].origin)
        # as it is after a way through JSON, so that a date of the file compares equal ever after
        config = msgspec.structs.replace(config, param=orjson.loads(orjson.dumps(config.param)))
    repeated = {e.model for e in config.endpoint if config.endpoint.count(e) > 1}
    if repeated:
        raise ConfigError(
            f"{settings['endpoint'].origin}: endpoint {repeated.pop()} is there twice with the "
            "same settings; raise its capacity"
        )
    if flags.get("base_url"):  # a host typed on the command line is allowed by being typed
        host = _host_of(flags["base_url"])
        config = msgspec.structs.replace(config, allow_host=(*config.allow_host, host))
    return config


def _host_of(base_url: str) -> str:
    try:
        return urlsplit(base_url).hostname or ""
    except ValueError:  # the provider refuses it, and says why
        return ""


def _from_flags(flags: Mapping[str, Any]) -> dict[str, _Setting]:
    given = {name: value for name, value in flags.items() if value is not None}
    if "param" in given:
        given["param"] = _params(given["param"])
    return {name: _Setting(value, _flag_of(name)) for name, value in given.items()}


def _flag_of(name: str) -> str:
    return "--cache" if name == "cache_mode" else f"--{name.replace('_', '-')}"


def _params(pairs: Sequence[str]) -> dict[str, Any]:
    """Read `KEY=JSON`, KEY=JSON, ..."""
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--param {pair!r} is not KEY=JSON")
        try:
            found[name] = orjson.loads(text)
        except orjson.JSONDecodeError:
            quoted = orjson.dumps(text).decode()
            raise ConfigError(
                f"--param {name}: {text!r} is not JSON; text needs quotes: '{name}={quoted}'"
            ) from None
    return found


def _check_params(param: Mapping[str, Any], origin: str) -> None:
    own = sorted(_OWN_FIELDS & param.keys())
    if own:
        raise ConfigError(f"{origin}: param can't set {own[0]}: the row or another setting does")


def _check_units(config: Config, settings: Mapping[str, _Setting]) -> None:
    """Read every amount once, so that a wrong one is found before anything starts."""
    amounts: list[tuple[str, Any, Callable[[Any], float]]] = [
        ("cache_ttl", config.cache_ttl, duration_s),
        ("cache_max_size", config.cache_max_size, size_bytes),
        ("rpm", config.rpm, per_minute),
        ("tpm", config.tpm, per_minute),
    ]
    for endpoint in config.endpoint:
        amounts += (("endpoint", rate, per_minute) for rate in (endpoint.rpm, endpoint.tpm))
    for name, value, read in amounts:
        try:
            if value is not None and read(value) <= 0:
                raise ValueError("it must be more than 0")
        except ValueError as error:
            raise ConfigError(f"{settings[name].origin}: {name}: {error}") from None


def _check_writable(name: str, setting: _Setting) -> None:
    """Refuse what no JSON can hold: bytes that are no text, numbers of over 64 bits."""
    try:
        orjson.dumps(setting.value, default=msgspec.to_builtins)
    except orjson.JSONEncodeError as error:
        raise ConfigError(f"{setting.origin}: {name}: {error}") from None


def _from_environ(environ: Mapping[str, str]) -> dict[str, _Setting]:
    found = {}
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX):
            continue
        name = variable.removeprefix(ENV_PREFIX).lower()
        _check_known(name, variable, FLAG_ONLY | {"endpoint"})
        text = environ[variable]
        value = _json_value(variable, text) if name in {"stop", "param"} else text
        found[name] = _Setting(value, variable)
    return found


def _from_file(path: str | None) -> dict[str, _Setting]:
    source = Path(path or CONFIG_FILE)
    if path is None and not source.is_file():
        return {}
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the config file {source}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not valid TOML: {error}") from None
    for name, value in _section(table, "cache", str(source)).items():
        table[f"cache_{name}"] = value
    for name in table:
        _check_known(name, str(source), FLAG_ONLY)
    if isinstance(table.get("json_schema"), str):
        table["json_schema"] = str(source.parent / table["json_schema"])
    return {name: _Setting(value, str(source)) for name, value in table.items()}


def _section(table: dict[str, Any], name: str, origin: str) -> dict[str, Any]:
    """Take a table out of the file: `[cache] ttl` is the setting cache_ttl."""
    section = table.pop(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{origin}: {name} is a table: write [{name}]")
    return section


def _check_known(name: str, origin: str, refused: frozenset[str]) -> None:
    known = [field for field in Config.__struct_fields__ if field not in refused]
    if name in known:
        return
    if name in refused:
        where = "as a flag" if name in FLAG_ONLY else "in the file"
        raise ConfigError(f"{origin}: {name} can't be set there, only {where}")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"
    raise ConfigError(f"{origin}: unknown setting {name}; {hint}")


def _json_value(origin: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ConfigError(f"{origin} must be JSON, got {text!r}") from None


def _complaint(error: str, settings: Mapping[str, _Setting]) -> str:
    """Turn "Expected `int` >= 1 - at `$.concurrency`" into a sentence that names the origin."""
    what, _, path = error.replace("`", "").partition(" - at $.")
    name = re.split(r"[.\[]", path, maxsplit=1)[0]
    origin = settings[name].origin if name in settings else "the configuration"
    what = what[0].lower() + what[1:]
    if "enum" in what:
        what += f"; one of {', '.join(get_args(Config.__annotations__[name]))}"
    return f"{origin}: {path or 'settings'}: {what}"
