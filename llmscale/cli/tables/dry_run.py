"""`--dry-run` of `run` and `embed` as labelled lines on standard output."""

from typing import TYPE_CHECKING

import typer

from llmscale.core.printable import printable
from llmscale.runtime.run_result import RunResult

if TYPE_CHECKING:
    from llmscale.commands.dry_run import Preview


def print_preview(seen: "Preview") -> RunResult:
    """Show what a run would do."""
    for label, fact in seen.facts:
        typer.echo(f"{label:<10} {printable(fact)}")
    for complaint in seen.bad_rows:
        typer.echo(f"bad row    {printable(complaint)}")
    typer.echo("nothing was sent")
    return RunResult(seen.exit_code)
