"""A job in the current folder: what tests of `estimate` and `plan` have in common."""

from typing import Any

from llmscale.config import Config
from tests.settings import config_of


def config_here(**settings: Any) -> Config:
    """Return the settings of a quiet job on `in.jsonl`: a simulated model, a cache of its own."""
    usual: dict[str, Any] = {
        "inputs": ("in.jsonl",),
        "model": "sim/a",
        "cache_dir": "cache",
        "quiet": True,
    }
    return config_of(**(usual | settings))
