"""`llmscale run`: answer every row of a file."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmscale.cli.command import command
from llmscale.cli.options import AlertOptions, DryRun, JobOptions, ResultOptions
from llmscale.core.choices import ChatFormatOrAuto

if TYPE_CHECKING:
    from llmscale.runtime.run_result import RunResult

EXAMPLES = """
Examples:

\b
  llmscale run prompts.jsonl -m openai/gpt-4.1-mini --max-cost 5
  llmscale run reviews.jsonl --template 'Summarize: {text}' --limit 10
"""


class RunOptions(ResultOptions, AlertOptions, JobOptions):
    """What `llmscale run` takes."""

    GROUP = "Output"

    dry_run: DryRun = False
    output_format: Annotated[
        ChatFormatOrAuto | None,
        typer.Option(
            metavar="FORMAT",
            help="auto (as the input), llmscale or openai-batch.",
            show_default="auto",
        ),
    ] = None


@command(epilog=EXAMPLES)
def run(given: RunOptions) -> None:
    """Answer every row of a JSONL file.

    The same command again resumes an unfinished job and retries rows that failed.
    """
    from llmscale.cli.endings import job_ended

    work = _dry_run if given.dry_run else _run
    raise typer.Exit(job_ended(given, work, keeps=not given.dry_run))


def _run(settings: Any) -> "RunResult":
    from llmscale.commands.run import run as run_job

    return run_job(settings)


def _dry_run(settings: Any) -> "RunResult":
    from llmscale.cli.tables.dry_run import print_preview
    from llmscale.commands.run import dry_run

    return print_preview(dry_run(settings))
