"""The text of `--help`: options and commands under headings, without rich, in 80 columns.

Headings are typer's `rich_help_panel`; rich itself would double the time of `--help`.
"""

import re
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from llmscale.cli import suggestions

EVERYDAY = "Everyday options"
GROUPS = (
    "Options",
    EVERYDAY,
    "Latency",
    "Faults",
    "Input",
    "Batching",
    "Output",
    "Model",
    "Sampling",
    "Limits",
    "Retries",
    "Cache",
    "Cost",
    "Alerts and metrics",
    "Logging",
)
"""The headings of options in their order; a command shows those that it has options for."""

FEW = 10
"""A command with that many options, or less, shows them without headings."""

NAME_COLUMNS = 25
_GLUE = "\xa0"  # a space at which no line ends
_STRING_DEFAULT = re.compile(r"\[default: \((.*?)\)(?=[;\]])", re.DOTALL)

Row = tuple[str, str]


class Command(TyperCommand):
    """A command whose help has headings, and which knows what an unknown option may mean."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; for an unknown option, name the right one."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            _suggest(error, ctx)
            raise

    def get_help(self, ctx: Any) -> str:
        """Return the help; what must stay on one line has."""
        return super().get_help(ctx).replace(_GLUE, " ")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line: INPUT... and not {INPUT...}."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then options under their headings."""
        params = self.get_params(ctx)
        arguments = [_row(p, ctx) for p in params if isinstance(p, TyperArgument)]
        options = [p for p in params if isinstance(p, TyperOption) and not p.hidden]
        sections = _by_heading(options)
        tables = {heading: [_row(p, ctx) for p in found] for heading, found in sections.items()}
        _write(formatter, {"Arguments": arguments} | tables)


class CommandGroup(TyperGroup):
    """Commands under headings; an unknown one gets the nearest that is there."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that a line names."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            ctx.fail(
                suggestions.unknown_command(args[0], self.list_commands(ctx), ctx.command_path)
            )
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; without a command, show the help."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(2)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            _suggest(error, ctx)
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings."""
        tables: dict[str, list[Row]] = {}
        for name in self.list_commands(ctx):
            heading, summary = self.summary(ctx, name)
            tables.setdefault(heading, []).append((name, summary))
        _write(formatter, tables)

    def summary(self, ctx: Any, name: str) -> Row:
        """Return the heading of a command, and what it does in one line."""
        command: Any = self.get_command(ctx, name)
        return "Commands", command.help.partition("\n")[0]


def _suggest(error: typer.TyperException, ctx: Any) -> None:
    """Fail with a better sentence where the error is about an option."""
    known = [flag for param in ctx.command.get_params(ctx) for flag in param.opts]
    option = getattr(error, "option_name", None)
    if option in known:  # its value is missing
        ctx.fail(error.format_message())
    if option is None:
        return
    if option in _options_of_run(ctx) and option not in suggestions.OF_THE_TOOL:
        ctx.fail(
            f"option {option} follows the command: `{ctx.command_path} run INPUT {option} ...`"
        )
    ctx.fail(suggestions.unknown_option(option, known, ctx.command_path))


def _options_of_run(ctx: Any) -> list[str]:
    """Return the options of `run` where a group has it; else none."""
    run = ctx.command.get_command(ctx, "run") if isinstance(ctx.command, CommandGroup) else None
    return [] if run is None else [flag for param in run.get_params(ctx) for flag in param.opts]


def _by_heading(options: list[TyperOption]) -> dict[str, list[TyperOption]]:
    """Return options by heading in the order of `GROUPS`; --help is the last of all."""
    *own, show_help = options
    if len(options) <= FEW:
        return {"Options": options}
    found: dict[str, list[TyperOption]] = {}
    for heading in GROUPS:
        if under := [o for o in own if (o.rich_help_panel or "Options") == heading]:
            found[heading] = under
    found[list(found)[-1]].append(show_help)
    return found


def _row(param: TyperArgument | TyperOption, ctx: Any) -> Row:
    name, text = param.get_help_record(ctx) or ("", "")
    text = _STRING_DEFAULT.sub(r"[default: \1", text.removesuffix("  [required]"))
    text, bracket, default = text.partition("  [")
    if len(default) < NAME_COLUMNS:
        default = default.replace(" ", _GLUE)
    return name, f"{text}{bracket}{default}"


def _write(formatter: Any, tables: dict[str, list[Row]]) -> None:
    """Write tables with one width for all names."""
    width = min(NAME_COLUMNS, max((len(name) for name in _names(tables.values())), default=0))
    for heading, rows in tables.items():
        if rows:
            with formatter.section(heading):
                formatter.write_dl([(f"{n:<{width}}", text) for n, text in rows], NAME_COLUMNS)


def _names(tables: Iterable[list[Row]]) -> Iterable[str]:
    return (name for rows in tables for name, _ in rows)
