"""Commands that look at what `run` would do take its flags, each as it is there and not a copy."""

import inspect
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from llmscale.cli import options
from llmscale.cli.run import run

TAKEN = (
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

_NAMES = {"cache_mode": "cache", "adaptive": "no_adaptive"}
_TAKES = {"estimate": ("inputs", *TAKEN), "cache export": ("config", "cache_dir")}
_NOT_REPEATED = frozenset({"quiet", "verbose", "log_format"})

Command = Callable[..., None]


def as_run(*more: str) -> Callable[[Command], Command]:
    """Give a command those flags and `more` of them, after its own.

    It gets them as `flags`, those that were given.
    """
    names = ("inputs", *TAKEN, *more)

    def decorated(command: Command) -> Command:
        own = list(inspect.signature(command).parameters.values())[1:]
        taken = inspect.signature(run).parameters

        def wrapped(**arguments: Any) -> None:
            flags = options.given({name: arguments.pop(name) for name in names})
            command(flags, **arguments)

        parameters = [taken["inputs"], *own, *(taken[name] for name in names[1:])]
        wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return wrapped

    return decorated


def command_line(command: str, flags: Mapping[str, Any], **other: Any) -> str:
    """Return a command with the flags that were given, and others in their place or beside them.

    A command that does not take all flags of `run` gets those that it takes.
    """
    words = ["llmscale", *command.split()]
    takes = _TAKES.get(command)
    given = {name: value for name, value in flags.items() if takes is None or name in takes}
    for name, value in {**given, **other}.items():
        if name in _NOT_REPEATED or value is None:
            continue
        flag = f"--{_NAMES.get(name, name).replace('_', '-')}"
        if name == "inputs":
            words += value
        elif isinstance(value, bool):
            words.append(flag)
        else:
            several = value if isinstance(value, list) else [value]
            words += [word for one in several for word in (flag, f"{one}")]
    return shlex.join(words)
