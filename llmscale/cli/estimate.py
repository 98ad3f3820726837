"""`llmscale estimate`: cost and duration of a run, before it."""

from typing import Annotated, Any

import typer

from llmscale.cli.command import command
from llmscale.cli.options import AsJson, JobOptions

Scale = Annotated[float, typer.Option(metavar="N", help="Also project N times the rows.")]


class EstimateOptions(JobOptions):
    """What `llmscale estimate` takes."""

    sample: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Run N rows first; 0 uses token counts alone.",
            show_default="the last sample, if any",
        ),
    ] = None
    scale: Scale = 10
    as_json: AsJson = False


@command()
def estimate(given: EstimateOptions) -> None:
    """Estimate the cost and duration of a run, and what limits them.

    Takes the options of run. Sends nothing without --sample; the answers of a sample stay in the
    cache.
    """
    from llmscale.cli.endings import job_ended
    from llmscale.runtime.run_result import RunResult

    def work(settings: Any) -> RunResult:
        from llmscale.commands.estimate.estimate import estimate as estimate_job

        found = estimate_job(settings, given.sample, given.scale)
        if given.as_json:
            from llmscale.core.printable import printable_json

            typer.echo(printable_json(found))
        else:
            from llmscale.cli.tables.estimate import print_estimate

            print_estimate(found)
        no_answer = found.method == "counts" and bool(found.now.asked.estimate)
        return RunResult(int(bool(given.sample) and no_answer))

    raise typer.Exit(job_ended(given, work))
