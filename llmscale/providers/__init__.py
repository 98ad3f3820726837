"""The model providers, by the first part of a model's name: `openai/gpt-4.1-mini`.

A provider is imported only when a run uses it, so that nothing pays for a network stack or for
weights that it does not need.
"""

from importlib import import_module

from llmscale.config import EndpointConfig
from llmscale.contracts import Provider
from llmscale.errors import ConfigError

PROVIDERS = ("openai", "anthropic", "local", "sim")

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
    endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str] = frozenset()
) -> Provider:
    """Return the provider of an endpoint, ready to send.

    Raises `ConfigError` when something that it needs is missing: a key, an extra, weights.
    """
    provider, name = split_model(endpoint.model)
    module = import_module(f"llmscale.providers.{provider}")
    opened: Provider = module.open_endpoint(name, endpoint, capacity, allow_hosts)
    return opened


def default_capacity(model: str) -> int | None:
    """Calls in flight that suit the provider of a model; None: as many as there are rows."""
    provider, _ = split_model(model)
    if provider != "local":
        return None
    capacity: int = import_module("llmscale.providers.local").default_capacity()
    return capacity
