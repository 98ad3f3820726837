"""`llmscale report`: look at a finished run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmscale.cli.command import command
from llmscale.cli.help_format import Command
from llmscale.cli.options import AsJson

BESIDE = ""  # the value of `--html` without one


class ReportCommand(Command):
    """Lets `--html` stand without a file, as the last word or before another option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give `--html` its value where it has none."""
        given: list[str] = []
        for word, following in zip(args, [*args[1:], "-"], strict=True):
            given.append(word)
            if word == "--html" and following.startswith("-"):
                given.append(BESIDE)
        return super().parse_args(ctx, given)


@command(kind=ReportCommand)
def report(
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="The output of a run, or its report.")
    ],
    html: Annotated[
        str | None,
        typer.Option(metavar="[FILE]", help="Write an HTML page.", show_default="NAME.report.html"),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Compare with the output or report of an earlier run."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the results, cost and bottleneck of a finished run."""
    from llmscale.cli.endings import ended

    raise typer.Exit(ended(lambda: _report(output, html, baseline, as_json=as_json)))


def _report(output: Path, html: str | None, baseline: Path | None, *, as_json: bool) -> int:
    from llmscale.commands import report as reporting

    reports = reporting.load(output, baseline)
    if html is not None:
        path = reporting.write_page(reports, output, Path(html) if html != BESIDE else None)
        typer.echo(f"wrote {path}", err=True)
    if as_json:
        from llmscale.core.printable import printable_json

        typer.echo(printable_json(reporting.as_json(reports)))
    elif html is None:
        from llmscale.cli.tables.report import print_report

        print_report(*reports)
    return 0
