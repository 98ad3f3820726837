"""`llmscale plan`: is a job ready for ten times the rows?"""

from typing import Annotated, Any

import typer

from llmscale.cli import options
from llmscale.cli.estimate import Scale
from llmscale.cli.shared_flags import as_run, command_line


@as_run("report")
def plan(
    flags: dict[str, Any],
    scale: Scale = 10,
    hours: Annotated[
        float, typer.Option(metavar="H", help="How long the scaled job may take.")
    ] = 8,
    as_json: options.AsJson = False,
) -> None:
    """Answer the checklist of a job that is to grow: yes, no or unknown, and what to do.

    Takes the flags of the run, and sends nothing. Exit code 1: a line that is required is a no.
    """
    from llmscale.cli.exit_codes import job_ended
    from llmscale.runtime.run_result import RunResult

    given = dict(flags)

    def command(name: str, **other: Any) -> str:
        return command_line(name, given, **other)

    def work(settings: Any) -> RunResult:
        from llmscale.commands.plan.plan import plan as plan_job

        found = plan_job(settings, command, scale, hours)
        if as_json:
            from llmscale.core.printable import printable_json

            typer.echo(printable_json(found))
        else:
            from llmscale.cli.tables.plan import print_plan

            print_plan(found)
        return RunResult(int(not found.ready))

    raise typer.Exit(job_ended(flags, work))
