"""A command line with the options that were given, to be shown to a person and typed again."""

import shlex
from collections.abc import Mapping
from typing import Any

from llmscale.cli.command import parameters
from llmscale.cli.options import JobOptions

_FLAGS = {"cache_mode": "--cache", "adaptive": "--no-adaptive"}
_NOT_REPEATED = frozenset({"quiet", "verbose", "log_format"})


def command_line(command: str, given: Mapping[str, Any], **other: Any) -> str:
    """Return a command with options that were given, and `other` in their place or beside them.

    A command that does not take all options of `run` gets those that it takes.
    """
    words = ["llmscale", *command.split()]
    taken = {name: value for name, value in given.items() if _takes(command, name)}
    for name, value in {**taken, **other}.items():
        if name in _NOT_REPEATED or value is None:
            continue
        flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
        if name == "inputs":
            words += value
        elif isinstance(value, bool):
            words.append(flag)
        else:
            several = value if isinstance(value, list) else [value]
            words += [word for one in several for word in (flag, f"{one}")]
    return shlex.join(words)


def _takes(command: str, name: str) -> bool:
    if command == "cache export":
        return name in {"config", "cache_dir"}
    return command == "run" or name == "adaptive" or name in parameters(JobOptions)
