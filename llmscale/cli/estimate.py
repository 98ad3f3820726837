"""`llmscale estimate`: dollars and hours of a run, before it."""

from typing import Annotated, Any

import typer

from llmscale.cli import options
from llmscale.cli.shared_flags import as_run

Scale = Annotated[float, typer.Option(metavar="N", help="Tell it for N times the rows too.")]


@as_run()
def estimate(
    flags: dict[str, Any],
    sample: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Ask N rows first. Default: none, or what an earlier sample of this job told; "
            "0: token counts alone.",
        ),
    ] = None,
    scale: Scale = 10,
    as_json: options.AsJson = False,
) -> None:
    """Tell what a run will cost and how long it takes, now and with more rows, and what binds.

    Takes the flags of the run. Without --sample nothing is sent; with it, the answers are kept in
    the cache.
    """
    from llmscale.cli.exit_codes import job_ended
    from llmscale.runtime.run_result import RunResult

    def work(settings: Any) -> RunResult:
        from llmscale.commands.estimate.estimate import estimate as estimate_job

        found = estimate_job(settings, sample, scale)
        if as_json:
            from llmscale.core.printable import printable_json

            typer.echo(printable_json(found))
        else:
            from llmscale.cli.tables.estimate import print_estimate

            print_estimate(found)
        no_answer = found.method == "counts" and bool(found.now.asked.estimate)
        return RunResult(int(bool(sample) and no_answer))

    raise typer.Exit(job_ended(flags, work))
