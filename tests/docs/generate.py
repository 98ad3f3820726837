"""Writes the page of the manual that is made from the commands: python -m tests.docs.generate."""

import textwrap
from collections.abc import Iterator
from typing import Any

from llmscale.cli import COMMANDS
from llmscale.cli.command import COMMAND_ONLY
from llmscale.cli.help_format import GROUPS
from llmscale.config.settings import FLAG_ONLY, SECTIONS, SETTINGS
from tests.cli.help_pages import command_names, options_of
from tests.servers.chat import ROOT

PAGE = ROOT / "llmscale" / "manual" / "flags.md"

HEAD = """\
# Flags

Every flag of every command, its default and its setting.

A flag without a setting exists only on the command line. `llmscale help config` explains settings
and environment variables. `--help` after any command shows its flags. `llmscale help mock` has
those of `llmscale mock`.
"""

SWITCHES_OFF = {"no_adaptive": "adaptive", "no_chunk": "embed_chunk"}
NAMED_TWICE = {"cache": "cache_mode"}


def flags_page() -> str:
    """Return the page of all flags."""
    parts = [HEAD]
    for name in documented():
        parts += [f"## {name}", "", *_of_command(name), ""]
    return "\n".join(parts)


def documented() -> Iterator[str]:
    """Yield the commands that the page tells of: those with flags."""
    for names in COMMANDS.values():
        for group in names:
            for name in command_names(group) or (group,):
                if name != "mock" and len(options_of(name)) > 1:  # more than --help
                    yield name


def _of_command(name: str) -> Iterator[str]:
    if name == "run":
        yield from _groups(_options(name))
        return
    of_run = {_key(option) for option in _options("run")}
    own = [option for option in _options(name) if _key(option) not in of_run]
    if own:
        yield from _table(own)
        yield ""
    also = {_key(option) for option in _options(name)} & of_run
    if not also:
        return
    without = {key for key in of_run - also if not any(key[0] in option.opts for option in own)}
    listed = without if len(without) < len(also) else also
    flags = ", ".join(f"`{o.opts[-1]}`" for o in _options("run") if _key(o) in listed)
    text = f"all flags of `run`, except {flags}" if listed is without else f"as in `run`: {flags}"
    yield from textwrap.wrap(f"{'Also' if own else 'Takes'} {text}.", 100, break_on_hyphens=False)


def _options(name: str) -> list[Any]:
    return [option for option in options_of(name) if option.name != "help"]


def _groups(options: list[Any]) -> Iterator[str]:
    yield "| flag | meaning | default | setting |"
    yield "|---|---|---|---|"
    for heading in GROUPS:
        if under := [o for o in options if (o.rich_help_panel or "Options") == heading]:
            yield f"| **{heading}** | | | |"
            yield from map(_row, under)


def _table(options: list[Any]) -> Iterator[str]:
    settings = any(_setting(option) for option in options)
    yield "| flag | meaning | default | setting |" if settings else "| flag | meaning | default |"
    yield "|---|---|---|---|" if settings else "|---|---|---|"
    for option in options:
        row = _row(option)
        yield row if settings else row.rsplit("|", 2)[0] + "|"


def _row(option: Any) -> str:
    metavar = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    setting = _setting(option)
    cells = (
        f"`{', '.join(option.opts)}{metavar}`",
        option.help.replace("|", "\\|"),
        _default(option),
        f"`{setting}`" if setting else "",
    )
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _key(option: Any) -> tuple[Any, ...]:
    return (*sorted(option.opts), option.help)


def _default(option: Any) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    if option.is_flag or option.default is None or not option.show_default:
        return ""
    return f"{option.default}"


def _setting(option: Any) -> str:
    """Return how a settings file writes an option; "" if it can't."""
    name = NAMED_TWICE.get(option.name, option.name)
    setting = SWITCHES_OFF.get(name, name)
    if setting in COMMAND_ONLY | FLAG_ONLY or setting not in SETTINGS:
        return ""
    place = SETTINGS[setting]
    written = f"{place.part}.{place.field}" if place.part in SECTIONS else place.field
    return f"{written} = false" if name in SWITCHES_OFF else written


if __name__ == "__main__":
    PAGE.write_text(flags_page(), encoding="utf-8")
