"""The commands and options that exist, read from the command line itself."""

from functools import cache
from typing import Any

import typer
from typer.main import get_command

from llmscale.cli import app


@cache
def command_of(name: str) -> Any:
    """Return a command by its full name: "run", "cache stats"; "" is llmscale itself."""
    command: Any = get_command(app)
    for word in name.split():
        command = command.get_command(typer.Context(command), word)
    return command


@cache
def command_names(group: str = "") -> tuple[str, ...]:
    """Return the full names of the commands below one, groups included."""
    command = command_of(group)
    names: list[str] = []
    for word in command.list_commands(None) if hasattr(command, "list_commands") else ():
        name = f"{group} {word}".strip()
        names += (name, *command_names(name))
    return tuple(names)


def options_of(name: str) -> list[Any]:
    """Return the options of a command, --help included."""
    context = typer.Context(command_of(name), info_name=name)
    return [p for p in command_of(name).get_params(context) if p.param_type_name == "option"]


@cache
def flags_of(name: str) -> frozenset[str]:
    """Return what the options of a command are called."""
    return frozenset(flag for option in options_of(name) for flag in option.opts)


def help_of(name: str) -> str:
    """Return the text of `--help`."""
    command = command_of(name)
    shown: str = command.get_help(typer.Context(command, info_name=f"llmscale {name}".strip()))
    return shown
