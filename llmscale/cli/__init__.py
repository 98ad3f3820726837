"""The command line: a file for each command, options in and an exit code out, no logic.

Only the command that a line names is imported, and nothing heavy before it has its options, so that
`--help` costs what typer costs.
"""

import contextlib
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from llmscale import __version__
from llmscale.cli import exit_codes
from llmscale.cli.help_format import CommandGroup, Row
from llmscale.core.standard_streams import secure
from llmscale.core.stdout_errors import is_of_stdout

PROGRAM = "llmscale"

COMMANDS = {
    "Run jobs": {
        "run": "Answer every row of a JSONL file.",
        "embed": "Turn files, folders or rows into vectors.",
        "search": "Find the chunks nearest to a query by cosine similarity.",
    },
    "Before a run": {
        "estimate": "Estimate the cost and duration of a run.",
        "plan": "Check whether a job is ready to scale.",
        "limits": "Show the limits of endpoints and users.",
        "mock": "Serve an OpenAI-compatible API with faults and limits.",
    },
    "During a run": {
        "status": "Show how far a job is, from another terminal.",
    },
    "After a run": {
        "report": "Show the results, cost and bottleneck of a finished run.",
        "verify": "Check that every input row is in the output exactly once.",
    },
    "Operate": {
        "cache": "Inspect stored answers, explain misses, remove and move entries.",
        "completion": "Print a completion script for bash, zsh or fish.",
        "help": "Show the manual: its topics, one page, or a search.",
    },
}
"""The commands by heading, each with what it does; `llmscale.cli.X` has command X."""


class _Commands(CommandGroup):
    """The table above, as commands that are imported when one is asked for."""

    def list_commands(self, _: Any) -> list[str]:
        """Return the names of all commands."""
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; None: there is none of that name."""
        if cmd_name not in self.commands and cmd_name in self.list_commands(ctx):
            module = import_module(f"llmscale.cli.{cmd_name}")
            self.add_command(get_command(getattr(module, cmd_name)), cmd_name)
        return self.commands.get(cmd_name)

    def summary(self, _: Any, name: str) -> Row:
        """Return the heading of a command, and what it does in one line."""
        return next((heading, names[name]) for heading, names in COMMANDS.items() if name in names)


app = typer.Typer(
    cls=_Commands,
    help="Batch LLM work: answer a file of prompts, or embed a folder of documents.",
    epilog=exit_codes.sentence(),
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
)


def _version(value: bool) -> None:
    if value:
        print(f"{PROGRAM} {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command of `sys.argv`; an error that was to be expected is one sentence."""
    secure()
    if "_LLMSCALE_COMPLETE" in os.environ:
        from llmscale.cli.completion import register_shells

        register_shells()
    try:
        exit_code = app(standalone_mode=False, prog_name=PROGRAM)
        sys.stdout.flush()  # a closed pipe is met here, and not when the process ends
        sys.exit(exit_code)
    except (OSError, SystemExit) as error:
        # typer and rich turn a closed pipe into an exit
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if cause is None or not is_of_stdout(cause):
            raise
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 (what is buffered goes nowhere)
        if isinstance(cause, BrokenPipeError):
            sys.exit(exit_codes.EXIT_CLOSED_PIPE)
        _say(f"error: can't write to standard output: {cause.strerror}")
        sys.exit(exit_codes.EXIT_STORAGE)
    except typer.TyperException as error:
        from llmscale.core.printable import printable

        _say(f"error: {printable(_sentence(error))}")
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)


def _say(sentence: str) -> None:
    """Print a sentence on stderr; where that can't be written, the exit code has to do."""
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)  # noqa: T201


def _sentence(error: typer.TyperException) -> str:
    """Return what is wrong with a command line, and where to look."""
    text = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    if context is not None and not text.startswith("unknown"):
        text += f"; see `{context.command_path} --help`"
    return text[:1].lower() + text[1:]
