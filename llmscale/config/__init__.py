"""One frozen `Config`: `settings` says what there is, `loading` where it comes from.

Reads `llmscale.toml` and `LLMSCALE_*`; never a key (those stay in the environment until a provider
asks for them by name) and never the input.
"""

from llmscale.config.loading import CONFIG_FILE, ENV_PREFIX, load
from llmscale.config.rules import Rule, parse_rules
from llmscale.config.settings import (
    CHANGES_ANSWERS,
    CHANGES_VECTORS,
    DEFAULT_EMBEDDING_MODEL,
    DEFAULT_MODEL,
    FLAG_ONLY,
    Config,
    EndpointConfig,
    PriceConfig,
    StrategyName,
    UserLimit,
)

__all__ = [
    "CHANGES_ANSWERS",
    "CHANGES_VECTORS",
    "CONFIG_FILE",
    "DEFAULT_EMBEDDING_MODEL",
    "DEFAULT_MODEL",
    "ENV_PREFIX",
    "FLAG_ONLY",
    "Config",
    "EndpointConfig",
    "PriceConfig",
    "Rule",
    "StrategyName",
    "UserLimit",
    "load",
    "parse_rules",
]
