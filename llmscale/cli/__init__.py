"""The command line: a file a command, flags in and an exit code out, no logic.

Nothing heavy is imported before a command has its flags, so that `--help` costs what typer costs.
"""

import sys
from typing import Annotated

import typer

from llmscale import __version__
from llmscale.cli.cache import app as cache
from llmscale.cli.embed import embed
from llmscale.cli.estimate import estimate
from llmscale.cli.limits import limits
from llmscale.cli.mock import mock
from llmscale.cli.plan import plan
from llmscale.cli.report import ReportCommand, report
from llmscale.cli.run import run
from llmscale.cli.search import search
from llmscale.cli.verify import verify

app = typer.Typer(
    name="llmscale",
    help="Take a file of prompts through a set of models, or a folder of documents to vectors: "
    "JSONL and a report out.",
    epilog="Exit codes: 0 all answered, 1 some failed, 2 usage, 3 refused by the provider, "
    "4 budget reached, 5 storage, 6 locked, 70 a fault of llmscale, 130 Ctrl-C, "
    "141 nobody reads stdout, 143 SIGTERM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
)
app.command()(run)
app.command()(embed)
app.command()(estimate)
app.command()(limits)
app.command()(mock)
app.command()(plan)
app.command(cls=ReportCommand)(report)
app.command()(search)
app.command()(verify)
app.add_typer(cache, name="cache")


def _version(value: bool) -> None:
    if value:
        print(f"llmscale {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command of `sys.argv`; never ends in a traceback that was to be expected."""
    sys.exit(app(standalone_mode=True))
