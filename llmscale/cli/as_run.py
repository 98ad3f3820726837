"""Commands that look at what `run` would do take its flags, each as it is there and not a copy."""

import inspect
from collections.abc import Callable
from typing import Any

from llmscale.cli import options
from llmscale.cli.run import run

TAKEN = (
    "inputs",
    "output",
    "config",
    "model",
    "base_url",
    "api_key_env",
    "allow_host",
    "concurrency",
    "rpm",
    "tpm",
    "max_cost",
    "strategy",
    "no_adaptive",
    "timeout",
    "max_attempts",
    "retry_time",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "system",
    "template",
    "param",
    "json_schema",
    "cache_mode",
    "cache_dir",
    "cache_ttl",
    "cache_max_size",
    "limit",
    "quiet",
    "verbose",
    "log_format",
)
"""The flags of `run` that say what is asked, of whom, how fast, and where the answers are."""


def as_run(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command those flags, after its own; it gets them as `flags`, those that were given."""
    own = list(inspect.signature(command).parameters.values())[1:]
    taken = inspect.signature(run).parameters

    def wrapped(**arguments: Any) -> None:
        flags = options.given({name: arguments.pop(name) for name in TAKEN})
        command(flags, **arguments)

    parameters = [taken["inputs"], *own, *(taken[name] for name in TAKEN if name != "inputs")]
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapped
