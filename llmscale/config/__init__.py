"""One frozen `Config` of parts: `settings` says what there is, `loading` where it comes from.

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
    SETTINGS,
    BalanceConfig,
    CacheConfig,
    Config,
    CostConfig,
    EmbedConfig,
    EndpointConfig,
    FilesConfig,
    LimitsConfig,
    LoggingConfig,
    ModelsConfig,
    ObserveConfig,
    PriceConfig,
    RetryConfig,
    SamplingConfig,
    UserLimit,
    value_of,
    with_settings,
)

__all__ = [
    "CHANGES_ANSWERS",
    "CHANGES_VECTORS",
    "CONFIG_FILE",
    "DEFAULT_EMBEDDING_MODEL",
    "DEFAULT_MODEL",
    "ENV_PREFIX",
    "FLAG_ONLY",
    "SETTINGS",
    "BalanceConfig",
    "CacheConfig",
    "Config",
    "CostConfig",
    "EmbedConfig",
    "EndpointConfig",
    "FilesConfig",
    "LimitsConfig",
    "LoggingConfig",
    "ModelsConfig",
    "ObserveConfig",
    "PriceConfig",
    "RetryConfig",
    "Rule",
    "SamplingConfig",
    "UserLimit",
    "load",
    "parse_rules",
    "value_of",
    "with_settings",
]
