"""A `Config` for tests by flat names: `config_of(cache_dir="here", max_attempts=1)`."""

from typing import Any

from llmscale.config import Config, with_settings


def config_of(**settings: Any) -> Config:
    """Return the defaults with these settings. Raises `KeyError` for a name that is no setting."""
    return with_settings(Config(), **settings)
