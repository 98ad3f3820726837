"""`llmscale plan`: is a job ready for ten times the rows?"""

from typing import Annotated, Any

import typer

from llmscale.cli.command import command
from llmscale.cli.command_line import command_line
from llmscale.cli.estimate import Scale
from llmscale.cli.options import AsJson, JobOptions, ReportFile


class PlanOptions(JobOptions):
    """What `llmscale plan` takes."""

    report: ReportFile = None
    scale: Scale = 10
    hours: Annotated[
        float, typer.Option(metavar="H", help="Maximum hours that the scaled job may take.")
    ] = 8
    as_json: AsJson = False


@command()
def plan(given: PlanOptions) -> None:
    """Check whether a job is ready to scale: a go/no-go checklist with fixes.

    Takes the options of run; sends nothing. Exits with code 1 if a required check fails.
    """
    from llmscale.cli.endings import job_ended
    from llmscale.runtime.run_result import RunResult

    flags = {"config": given.config, **given.settings()}

    def shown(name: str, **other: Any) -> str:
        return command_line(name, flags, **other)

    def work(settings: Any) -> RunResult:
        from llmscale.commands.plan.plan import plan as plan_job

        found = plan_job(settings, shown, given.scale, given.hours)
        if given.as_json:
            from llmscale.core.printable import printable_json

            typer.echo(printable_json(found))
        else:
            from llmscale.cli.tables.plan import print_plan

            print_plan(found)
        return RunResult(int(not found.ready))

    raise typer.Exit(job_ended(given, work))
