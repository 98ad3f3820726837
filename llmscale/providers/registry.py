"""Every provider by the first part of a model's name: `openai/gpt-4.1-mini`.

A provider is a module of this package and an entry of `SPECS`; help, keys, limits and errors follow
from the entry. The module is imported only when a run uses it, so that no run pays for a network
stack or weights that it does not need.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from llmscale.core.errors import ConfigError
from llmscale.core.model_name import split_model_name

if TYPE_CHECKING:  # so that help can name the providers at no cost
    from llmscale.config import EndpointConfig
    from llmscale.core.protocols import Provider

Task = Literal["chat", "embedding"]

_VERSION = re.compile(r"/v\d+\w*$")


class LimitHeaders(NamedTuple):
    """How a provider names its limits, and what is left of them, in the headers of an answer."""

    pattern: str  # with {unit} and {field}: limit, remaining, reset
    units: tuple[str, ...]

    def name(self, unit: str, field: str) -> str:
        """Return the name of a header, in lower case."""
        return self.pattern.format(unit=unit, field=field)


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """What is known of a provider without importing it.

    Its modules (`chat`, `embedding`: names in this package) have `open_endpoint(name, endpoint,
    capacity, allow_hosts) -> Provider`, and `default_capacity() -> int` where `sets_capacity`.
    """

    name: str
    chat: str | None = None  # the module that answers chats; None: no chats
    embedding: str | None = None  # the module that embeds; None: no embeddings
    base_url: str | None = None  # None: runs in this process
    key_variable: str = ""  # of the environment
    base_url_variable: str = ""  # the same; replaces `base_url`
    paths: tuple[str, ...] = ()  # of its API; an address that ends in one is understood
    version_path: str = ""  # added to an address that ends in no version
    model_prefixes: tuple[str, ...] = ()  # of names that are known to be its own
    takes_any_model: bool = True  # one address serves models by name
    sets_capacity: bool = False  # the module knows how many calls in flight are of use
    default_max_tokens: int | None = None  # sent where a request sets none; None: sends none
    limit_headers: LimitHeaders | None = None  # None: its answers name no limits

    @property
    def is_remote(self) -> bool:
        """Tell whether it is reached over the network."""
        return self.base_url is not None

    @property
    def host(self) -> str:
        """The host that its key is sent to; empty for one in this process."""
        return urlsplit(self.base_url or "").hostname or ""


SPECS = (
    ProviderSpec(
        "openai",
        chat="openai",
        embedding="openai_embeddings",
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        base_url_variable="OPENAI_BASE_URL",
        paths=("/chat/completions", "/embeddings", "/models"),
        model_prefixes=("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-", "ft:gpt-"),
        limit_headers=LimitHeaders("x-ratelimit-{field}-{unit}", ("requests", "tokens")),
    ),
    ProviderSpec(
        "anthropic",
        chat="anthropic",
        base_url="https://api.anthropic.com/v1",
        key_variable="ANTHROPIC_API_KEY",
        base_url_variable="ANTHROPIC_BASE_URL",
        paths=("/messages",),
        version_path="/v1",  # as the SDK adds it
        model_prefixes=("claude",),
        default_max_tokens=4096,  # the API requires a maximum in every request
        limit_headers=LimitHeaders(
            "anthropic-ratelimit-{unit}-{field}",
            ("requests", "tokens", "input-tokens", "output-tokens"),
        ),
    ),
    ProviderSpec(
        "local",
        chat="local",
        embedding="local_embeddings",
        takes_any_model=False,
        sets_capacity=True,
    ),
    ProviderSpec("sim", chat="sim", embedding="sim_embeddings"),
)

PROVIDERS = {spec.name: spec for spec in SPECS}
LIMIT_HEADERS = tuple(spec.limit_headers for spec in SPECS if spec.limit_headers is not None)
"""Of all providers, since a gateway passes on those of the one behind it."""


def prefixes(task: Task | None = None) -> str:
    """Return how model names begin, for help and messages: "openai/..., sim/..."."""
    names = [
        spec.name for spec in PROVIDERS.values() if task is None or getattr(spec, task) is not None
    ]
    return ", ".join(f"{name}/..." for name in names)


def split_model(model: str) -> tuple[str, str]:
    """Return ("provider", "name"). Raises `ConfigError` for a provider that is not known."""
    provider, name = split_model_name(model)
    if provider not in PROVIDERS or not name:
        raise ConfigError(_no_provider(model))
    return provider, name


def _no_provider(model: str) -> str:
    """Return a sentence for a name without a known provider, with the one that is meant."""
    provider, name = split_model_name(model)
    if not model or provider in PROVIDERS:
        return f"model {model!r} names no model; write one of {prefixes()}"
    if model.endswith(".gguf"):
        return f"model {model!r} has no provider; did you mean local/{_absolute(model)}?"
    own = next((spec for spec in SPECS if model.startswith(spec.model_prefixes)), None)
    if own is not None:
        return f"model {model!r} has no provider; did you mean {own.name}/{model}?"
    return (
        f"model {model!r} names no known provider; use one of {prefixes()}, and for any server "
        f"with the OpenAI API openai/{name or model} with --base-url URL"
    )


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/path/to/{path}"


def spec_of(model: str) -> ProviderSpec:
    """Return the provider of a model. Raises `ConfigError` for one that is not known."""
    provider, _ = split_model(model)
    return PROVIDERS[provider]


def open_provider(
    endpoint: "EndpointConfig",
    capacity: int,
    allow_hosts: frozenset[str] = frozenset(),
    task: Task = "chat",
) -> "Provider":
    """Return the provider of an endpoint, ready to send.

    Raises `ConfigError` when something that it needs is missing: a key, an extra, weights.
    """
    _, name = split_model(endpoint.model)
    module = _module(endpoint.model, task)
    opened: Provider = module.open_endpoint(name, endpoint, capacity, allow_hosts)
    return opened


def base_url_of(endpoint: "EndpointConfig") -> str | None:
    """Return the address of an endpoint; None: it runs in this process."""
    spec = spec_of(endpoint.model)
    if spec.base_url is None or endpoint.base_url is None:
        return spec.base_url
    address = endpoint.base_url.rstrip("/")
    for path in spec.paths:
        address = address.removesuffix(path)
    return address if _VERSION.search(address) else address + spec.version_path


def default_capacity(model: str, task: Task = "chat") -> int | None:
    """Calls in flight that suit the provider of a model; None: as many as there are rows."""
    if not spec_of(model).sets_capacity:
        return None
    capacity: int = _module(model, task).default_capacity()
    return capacity


def _module(model: str, task: Task) -> Any:
    spec = spec_of(model)
    name: str | None = getattr(spec, task)
    if name is None:
        what = "embeddings" if task == "embedding" else "chats"
        raise ConfigError(f"{spec.name}/... has no {what}; use one of {prefixes(task)}")
    return import_module(f"llmscale.providers.{name}")
