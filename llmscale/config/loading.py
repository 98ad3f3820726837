"""Settings from flags, environment, file and defaults, in that order of precedence.

An invalid one is a sentence that names the setting, where it was set, and what it takes.
"""

import difflib
import logging
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import orjson

from llmscale.config.addresses import check_address, host_of, is_loopback
from llmscale.config.failure_bound import FailureBound
from llmscale.config.rules import parse_rules
from llmscale.config.settings import (
    FILE_ONLY,
    FLAG_ONLY,
    SECTIONS,
    SETTINGS,
    Config,
    EmbedConfig,
    EndpointConfig,
    LimitsConfig,
    ModelsConfig,
    ObserveConfig,
    RetryConfig,
    SettingPath,
    UserLimit,
    nested,
    with_settings,
)
from llmscale.core.errors import ConfigError
from llmscale.core.small_file import read_small
from llmscale.core.units import duration_s, per_minute, size_bytes

log = logging.getLogger(__name__)

CONFIG_FILE = "llmscale.toml"
ENV_PREFIX = "LLMSCALE_"
MAX_SHOWN = 12  # characters of an invalid text

_AS_JSON = frozenset({"stop", "param", "embed_include", "embed_exclude"})
"""Settings that are JSON in the environment: lists and objects."""

_MAY_BE_EMPTY = frozenset({"alert_on", "fail_on", "system", "template"})
"""Flags that an empty text turns off."""
_MAY_BE_FILES = frozenset({"template", "system"})
"""Settings that may be the content of a file: `@prompt.txt`."""

_OWN_FIELDS = frozenset({"model", "messages", "stream", "n", "temperature", "top_p", "max_tokens"})


_PATH = re.compile(r"(\w+)\.(\w+)(.*)", re.DOTALL)
"""Where msgspec found something wrong: part, field, and the place within it."""

_BOUND = re.compile(r"Expected (?:int|float) (>=|<=|>|<) (\S+)")
"""What msgspec says of a number that is too small or too large."""

_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}

_KIND = re.compile(r"Expected ((?:int|float|bool|str|array|object|null| \| )+)(?:, got \w+)?")
"""What msgspec says of a value of another kind."""

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
    "object": "a table",
}

_NAMES = {place: name for name, place in SETTINGS.items()}


class _Setting(msgspec.Struct, frozen=True):
    """A value, and its origin as an error names it."""

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
        values = nested({name: setting.value for name, setting in settings.items()})
        config = msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_sentence(str(error), settings)) from None
    for name in _MAY_BE_FILES & settings.keys():
        config = with_settings(config, **{name: _text_of(settings[name], name)})
    for name, setting in settings.items():
        _check_writable(name, setting)
    _check_hosts(config.models)
    _check_addresses(config.models, settings)
    _check_units(config, settings)
    _check_limits(config, settings)
    _check_max_failures(config.retry, settings)
    _check_fallback(config.models, settings)
    _check_rules(config.observe, settings)
    _check_overlap(config.embed)
    _check_endpoints(config.models, settings)
    if config.sampling.param:
        _check_params(config.sampling.param, settings["param"].origin)
        # as it is after a round trip through JSON, so that a date of the file compares equal later
        config = with_settings(config, param=orjson.loads(orjson.dumps(config.sampling.param)))
    if file is None:
        _tell_of_found_file(settings)
    if flags.get("base_url"):  # a host typed on the command line is allowed by being typed
        host = host_of(flags["base_url"])
        config = with_settings(config, allow_host=(*config.models.allow_host, host))
    return config


def _text_of(setting: _Setting, name: str) -> Any:
    """Return a text, or that of the file which `@FILE` names."""
    text = setting.value
    if not isinstance(text, str) or not text.startswith("@"):
        return text
    path = text[1:]
    try:
        return read_small(path).decode("utf-8-sig").rstrip("\n")
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except ValueError as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    raise ConfigError(f"{setting.origin}: {name}: can't read {path}: {reason}")


def _tell_of_found_file(settings: Mapping[str, _Setting]) -> None:
    """Say where a file that was found in this folder sends prompts, and where it stores answers."""
    found = {name: s.value for name, s in settings.items() if s.origin == CONFIG_FILE}
    addresses = [found.get("base_url"), *(e.get("base_url") for e in found.get("endpoint", ()))]
    hosts = sorted({host_of(address) for address in addresses if isinstance(address, str)})
    remote = [host for host in hosts if not is_loopback(host)]
    if remote:
        log.info("%s sends prompts to %s", CONFIG_FILE, ", ".join(remote))
    if "cache_dir" in found:
        log.info("%s stores answers in %s", CONFIG_FILE, found["cache_dir"])


def _from_flags(flags: Mapping[str, Any]) -> dict[str, _Setting]:
    given = {name: value for name, value in flags.items() if value is not None}
    if "param" in given:
        given["param"] = _params(given["param"])
    for name, value in given.items():
        _check_known(name, _flag_of(name), frozenset())
        if value == "" and name not in _MAY_BE_EMPTY:
            raise ConfigError(f"{_flag_of(name)} is empty; give it a value, or leave it out")
    return {name: _Setting(value, _flag_of(name)) for name, value in given.items()}


def _flag_of(name: str) -> str:
    if name == "cache_mode":
        return "--cache"
    return f"--{name.removeprefix('embed_').replace('_', '-')}"


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


def _check_overlap(embed: EmbedConfig) -> None:
    if embed.overlap >= embed.chunk_tokens:
        raise ConfigError(
            f"embed_overlap {embed.overlap} must be less than embed_chunk_tokens, which is "
            f"{embed.chunk_tokens}"
        )


def _check_endpoints(models: ModelsConfig, settings: Mapping[str, _Setting]) -> None:
    repeated = {e.model for e in models.endpoint if models.endpoint.count(e) > 1}
    if repeated:
        raise ConfigError(
            f"{settings['endpoint'].origin}: duplicate endpoint {repeated.pop()} with the same "
            "settings; raise its capacity instead"
        )


def _check_addresses(models: ModelsConfig, settings: Mapping[str, _Setting]) -> None:
    tables = [("base_url", models.base_url, None), ("api_key_env", None, models.api_key_env)]
    tables += (("endpoint", e.base_url, e.api_key_env) for e in models.endpoint)
    for name, base_url, api_key_env in tables:
        try:
            check_address(base_url, api_key_env)
        except ValueError as error:
            raise ConfigError(f"{settings[name].origin}: {error}") from None


def _check_hosts(models: ModelsConfig) -> None:
    for host in models.allow_host:
        if not host or "/" in host or "@" in host or host.count(":") == 1:
            raise ConfigError(
                f"--allow-host {host!r} is no host; write for example gateway.example.com, without "
                "http:// and port"
            )


def _check_units(config: Config, settings: Mapping[str, _Setting]) -> None:
    """Parse every amount once, so that an invalid one is found before anything starts."""
    amounts: list[tuple[str, Any, Callable[[Any], float]]] = [
        ("cache_ttl", config.cache.ttl, duration_s),
        ("cache_max_size", config.cache.max_size, size_bytes),
        ("embed_batch_bytes", config.embed.batch_bytes, size_bytes),
        ("rpm", config.models.rpm, per_minute),
        ("tpm", config.models.tpm, per_minute),
    ]
    for endpoint in config.models.endpoint:
        amounts += (("endpoint", rate, per_minute) for rate in (endpoint.rpm, endpoint.tpm))
    for name, user in _users(config.limits):
        amounts += ((name, rate, per_minute) for rate in (user.rpm, user.tpm))
    for name, value, read in amounts:
        try:
            if value is not None and read(value) <= 0:
                raise ValueError("it must be more than 0")
        except ValueError as error:
            raise ConfigError(f"{_place(settings[name].origin, name)}: {error}") from None


def _users(limits: LimitsConfig) -> list[tuple[str, UserLimit]]:
    named = [("limits_users", user) for user in limits.users.values()]
    return named if limits.user is None else [("limits_user", limits.user), *named]


def _check_limits(config: Config, settings: Mapping[str, _Setting]) -> None:
    """Refuse a burst without a rate, and calls that no limit would ever admit."""
    max_tokens = config.sampling.max_tokens
    tables: list[tuple[str, str, EndpointConfig | UserLimit]] = [
        ("endpoint", f"endpoint {e.model}", e) for e in config.models.endpoints()
    ]
    tables += ((name, name.replace("_", "."), user) for name, user in _users(config.limits))
    for name, what, table in tables:
        origin = settings[name].origin if name in settings else "the configuration"
        if table.burst is not None and table.rpm is None:
            raise ConfigError(f"{origin}: {what}: burst {table.burst} needs rpm")
        if table.burst is not None and table.burst > per_minute(table.rpm or 0):
            raise ConfigError(
                f"{origin}: {what}: burst {table.burst} is more than rpm, which is "
                f"{per_minute(table.rpm or 0):g}"
            )
        limit_tpm = None if table.tpm is None else per_minute(table.tpm)
        if limit_tpm is not None and max_tokens is not None and max_tokens > limit_tpm:
            raise ConfigError(
                f"{origin}: {what}: max_tokens {max_tokens} is more than the limit of "
                f"{limit_tpm:g} tokens a minute; no call could ever be sent"
            )


def _check_max_failures(retry: RetryConfig, settings: Mapping[str, _Setting]) -> None:
    if retry.max_failures is not None:
        try:
            FailureBound.parse(retry.max_failures)
        except ValueError as error:
            raise ConfigError(f"{settings['max_failures'].origin}: {error}") from None


def _check_fallback(models: ModelsConfig, settings: Mapping[str, _Setting]) -> None:
    for model, others in models.fallback.items():
        if model in others or not others:
            raise ConfigError(
                f"{settings['fallback'].origin}: fallback of {model} names "
                + ("itself" if others else "no model")
            )


def _check_rules(observe: ObserveConfig, settings: Mapping[str, _Setting]) -> None:
    for name, text in (("fail_on", observe.fail_on), ("alert_on", observe.alert_on)):
        try:
            parse_rules(text or "")
        except ValueError as error:
            raise ConfigError(f"{settings[name].origin}: {error}") from None


def _check_writable(name: str, setting: _Setting) -> None:
    """Refuse what JSON can't hold: bytes that are not text, numbers of more than 64 bits."""
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
        _check_known(name, variable, FLAG_ONLY | FILE_ONLY)
        text = environ[variable]
        value = _json_value(variable, text) if name in _AS_JSON else text
        found[name] = _Setting(value, variable)
    return found


def _from_file(path: str | None) -> dict[str, _Setting]:
    source = Path(path or CONFIG_FILE)
    if path is None and not source.is_file():
        return {}
    try:
        table = tomllib.loads(read_small(source).decode())
    except OSError as error:
        raise ConfigError(f"can't read the config file {source}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not valid TOML: {error}") from None
    for section in SECTIONS:
        for name, value in _section(table, section, str(source)).items():
            table[f"{section}_{name}"] = value
    for name in table:
        _check_known(name, str(source), FLAG_ONLY)
    if isinstance(table.get("json_schema"), str):
        table["json_schema"] = str(source.parent / table["json_schema"])
    for name in _MAY_BE_FILES:
        if isinstance(table.get(name), str) and table[name].startswith("@"):
            table[name] = f"@{source.parent / table[name][1:]}"
    return {name: _Setting(value, str(source)) for name, value in table.items()}


def _section(table: dict[str, Any], name: str, origin: str) -> dict[str, Any]:
    """Take a table out of the file: `[cache] ttl` is the setting cache_ttl."""
    section = table.pop(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{origin}: {name} is a table: write [{name}]")
    return section


def _check_known(name: str, origin: str, refused: frozenset[str]) -> None:
    known = [field for field in SETTINGS if field not in refused]
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


def _sentence(error: str, settings: Mapping[str, _Setting]) -> str:
    """Turn "Expected `int` >= 1 - at `$.retry.max_attempts`" into a sentence with the origin."""
    what, _, path = error.replace("`", "").partition(" - at $.")
    part, field, within = _PATH.fullmatch(path).groups()  # type: ignore[union-attr]
    name = _NAMES[SettingPath(part, field)]
    setting = settings[name]
    place = _place(setting.origin, name, within)
    given = "" if within else _instead(setting.value)
    if bound := _BOUND.fullmatch(what):
        return f"{place} must be {_BOUNDS[bound[1]]} {float(bound[2]):.12g}{given}"
    if kinds := _KIND.fullmatch(what):
        words = [_KINDS[kind] for kind in kinds[1].split(" | ") if kind != "null"]
        return f"{place} must be {' or '.join(words)}{given}"
    what = what[0].lower() + what[1:]
    if what.startswith("invalid enum"):
        what += f"; one of {', '.join(get_args(_type_of(SettingPath(part, field))))}"
    return f"{place}: {what}"


def _instead(value: Any) -> str:
    """Return ", not VALUE"; nothing for a table, and for a text that is long enough for a key."""
    if isinstance(value, bool):
        return f", not {str(value).lower()}"
    if isinstance(value, str):
        return f", not {value!r}" if len(value) <= MAX_SHOWN else ""
    return "" if isinstance(value, list | dict) else f", not {value}"


def _place(origin: str, name: str, within: str = "") -> str:
    """Return where a setting was set; a flag and a variable are named after it."""
    is_named = origin.startswith(("--", ENV_PREFIX)) and not within
    return origin if is_named else f"{origin}: {name}{within}"


def _type_of(place: SettingPath) -> Any:
    part = Config.__annotations__[place.part]
    return part.__annotations__[place.field]
