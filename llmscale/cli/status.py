"""`llmscale status`: how far a job is, from another terminal."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmscale.cli.command import command
from llmscale.cli.options import AsJson

if TYPE_CHECKING:
    from llmscale.commands.status import JobStatus

EXAMPLES = """
Examples:

\b
  llmscale status big.jsonl
  llmscale status big.jsonl --watch
"""

WATCH_S = 2.0


@command(epilog=EXAMPLES)
def status(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The output of a run.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it every 2 seconds until the run ends.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a job is, from another terminal.

    Rows, rate, time left, failures and cost, read from the files beside the output.
    """
    from llmscale.cli.endings import ended

    raise typer.Exit(ended(lambda: _status(output, watch=watch, as_json=as_json)))


def _status(output: Path, *, watch: bool, as_json: bool) -> int:
    from llmscale.commands.status import status as status_of

    shown = 0
    while True:
        found = status_of(output)
        shown = _show(found, shown, as_json=as_json)
        if not watch or not found.goes_on:
            return 0
        time.sleep(WATCH_S)


def _show(found: "JobStatus", above: int, *, as_json: bool) -> int:
    """Print a status in place of the one above, which has that many lines; return its lines."""
    import sys

    from llmscale.cli.tables.status import as_line, as_lines
    from llmscale.core.printable import printable

    if as_json:
        typer.echo(as_line(found))
        return 0
    lines = as_lines(found)
    if above and sys.stdout.isatty():
        typer.echo(f"\x1b[{above}F\x1b[J", nl=False)
    elif above:
        typer.echo()
    for line in lines:
        typer.echo(printable(line))
    return len(lines)
