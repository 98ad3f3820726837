"""How a command is made: its options as one typed value, of a class whose fields are the options.

`command` makes a function a command. `Options.settings` is what the settings are loaded with.
"""

import inspect
from collections.abc import Callable
from copy import copy
from typing import Annotated, Any, ClassVar, get_args

import typer

from llmscale.cli.help_format import EVERYDAY, Command

COMMAND_ONLY = frozenset(
    {"config", "dry_run", "row_or_file", "query", "vectors", "k", "query_model", "sample", "scale"}
    | {"hours", "as_json", "model_pattern", "older_than", "yes", "file", "watch"}
)
"""Options that say what a command does; all others are settings of the same name."""

_SWITCHED_OFF = {"no_adaptive": "adaptive", "no_chunk": "embed_chunk"}
"""Flags that turn off a setting."""


def is_given(value: object) -> bool:
    """Tell whether an option has a value: 0 and 0.0 are one; None, False and [] are not."""
    return not (value is None or value is False or value == [])


class Options:
    """What a command was given. An option that was not given is None, False or empty."""

    GROUP: ClassVar[str | None] = None
    """The heading in `--help` of the options that this class declares; it is not inherited."""

    EVERYDAY: ClassVar[tuple[str, ...]] = ()
    """The options that come first in `--help`, whatever their group."""

    config: str | None = None
    """The settings file, of commands that have one."""

    def __init__(self, **given: Any) -> None:
        """Take the value of each option by its name."""
        vars(self).update(given)

    def settings(self) -> dict[str, Any]:
        """Return the settings that were given, as `config.load` takes them."""
        given = {
            name: value
            for name in parameters(type(self))
            if name not in COMMAND_ONLY and is_given(value := getattr(self, name, None))
        }
        off = {setting: False for flag, setting in _SWITCHED_OFF.items() if given.pop(flag, False)}
        return given | off


def parameters(options: type[Options]) -> dict[str, inspect.Parameter]:
    """Return the options of a class as parameters: everyday ones first, then its own."""
    found = {}
    for group in reversed(options.__mro__):
        for name, annotation in inspect.get_annotations(group).items():
            if hasattr(annotation, "__metadata__"):
                panel = EVERYDAY if name in options.EVERYDAY else vars(group).get("GROUP")
                found[name] = inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=getattr(options, name, inspect.Parameter.empty),
                    annotation=_in_panel(annotation, panel),
                )
    order = ("inputs", *options.EVERYDAY, *inspect.get_annotations(options), *found)
    return {name: found[name] for name in order if name in found}


def _in_panel(annotation: Any, panel: str | None) -> Any:
    kind, info = get_args(annotation)
    info = copy(info)
    if panel == EVERYDAY or info.rich_help_panel is None:
        info.rich_help_panel = panel
    return Annotated[kind, info]


def command(
    *, epilog: str | None = None, kind: type[Command] = Command
) -> Callable[[Callable[..., None]], typer.Typer]:
    """Make a function a command; its parameters are its options, or one value of `Options`."""

    def decorated(function: Callable[..., None]) -> typer.Typer:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cls=kind, epilog=epilog)(takes(function))
        return app

    return decorated


def takes(function: Callable[..., None]) -> Callable[..., None]:
    """Make the options of the class of a function's only parameter its parameters."""
    options = next(iter(inspect.get_annotations(function).values()))
    if not (isinstance(options, type) and issubclass(options, Options)):
        return function
    found = parameters(options)

    def wrapped(**given: Any) -> None:
        function(options(**given))

    wrapped.__name__, wrapped.__doc__ = function.__name__, function.__doc__
    wrapped.__annotations__ = {name: p.annotation for name, p in found.items()}
    wrapped.__signature__ = inspect.Signature(list(found.values()))  # type: ignore[attr-defined]
    return wrapped
