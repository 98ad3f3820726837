"""The model providers: a module for each, and the `registry` that lists them."""

from llmscale.providers.registry import (
    PROVIDERS,
    SPECS,
    ProviderSpec,
    Task,
    base_url_of,
    default_capacity,
    open_provider,
    prefixes,
    spec_of,
    split_model,
)

__all__ = [
    "PROVIDERS",
    "SPECS",
    "ProviderSpec",
    "Task",
    "base_url_of",
    "default_capacity",
    "open_provider",
    "prefixes",
    "spec_of",
    "split_model",
]
