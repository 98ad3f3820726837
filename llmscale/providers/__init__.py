"""The model providers, by the first part of a model's name: `openai/gpt-4.1-mini`.

A provider is imported only when a run uses it, so that nothing pays for a network stack or for
weights that it does not need.
"""

from importlib import import_module
from types import ModuleType
from typing import Literal

from llmscale.config import EndpointConfig
from llmscale.core.errors import ConfigError
from llmscale.core.protocols import Provider

Task = Literal["chat", "embedding"]

PROVIDERS = ("openai", "anthropic", "local", "sim")

EMBEDDING_PROVIDERS = ("openai", "local", "sim")

ON_THE_NETWORK = ("openai", "anthropic")

ANY_MODEL = frozenset({"openai", "anthropic", "sim"})
"""Providers whose one address serves models by name; `local` has just the weights it loaded."""


def split_model(model: str) -> tuple[str, str]:
    """Return ("provider", "name"). Raises `ConfigError` for a provider that is not known."""
    provider, _, name = model.partition("/")
    if provider not in PROVIDERS or not name:
        known = ", ".join(f"{p}/..." for p in PROVIDERS)
        raise ConfigError(f"model {model!r} names no known provider; write one of {known}")
    return provider, name


def open_provider(
    endpoint: EndpointConfig,
    capacity: int,
    allow_hosts: frozenset[str] = frozenset(),
    task: Task = "chat",
) -> Provider:
    """Return the provider of an endpoint, ready to send.

    Raises `ConfigError` when something that it needs is missing: a key, an extra, weights.
    """
    _, name = split_model(endpoint.model)
    module = _module(endpoint.model, task)
    opened: Provider = module.open_endpoint(name, endpoint, capacity, allow_hosts)
    return opened


def base_url_of(endpoint: EndpointConfig, task: Task = "chat") -> str | None:
    """Return the address of an endpoint; None: it is in this process."""
    own: str | None = getattr(_module(endpoint.model, task), "BASE_URL", None)
    return own and (endpoint.base_url or own)


def default_capacity(model: str, task: Task = "chat") -> int | None:
    """Calls in flight that suit the provider of a model; None: as many as there are rows."""
    provider, _ = split_model(model)
    if provider != "local":
        return None
    capacity: int = _module(model, task).default_capacity()
    return capacity


def _module(model: str, task: Task) -> ModuleType:
    provider, _ = split_model(model)
    if task == "chat":
        return import_module(f"llmscale.providers.{provider}")
    if provider not in EMBEDDING_PROVIDERS:
        raise ConfigError(
            f"{provider}/... has no embeddings; there are openai/..., local/wordllama"
        )
    return import_module(f"llmscale.providers.{provider}_embeddings")
