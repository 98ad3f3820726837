"""`llmscale verify`: is every input row in the output exactly once?"""

from pathlib import Path
from typing import Annotated

import typer

from llmscale.cli.command import command


@command()
def verify(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="The files that the run has read.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="The file that the run has written.")
    ],
) -> None:
    """Check that every input row is in the output exactly once.

    Exits with code 0 if so, and with code 1 if not.
    """
    from llmscale.cli.endings import ended

    raise typer.Exit(ended(lambda: _verify(inputs, output)))


def _verify(inputs: list[str], output: Path) -> int:
    from llmscale.commands.verify import verify as verify_output
    from llmscale.core.printable import printable
    from llmscale.rows.sources import expand

    found = verify_output(expand(inputs), output)
    for example in found.examples:
        typer.echo(printable(example), err=True)
    typer.echo(
        f"{'complete' if found.is_complete else 'NOT COMPLETE'}: {found.rows} rows, "
        f"{found.answered} answered, {found.failed} failed, {found.missing} missing, "
        f"{found.duplicated} duplicated, {found.unknown} unknown, "
        f"{found.unreadable} unreadable"
    )
    return 0 if found.is_complete else 1
