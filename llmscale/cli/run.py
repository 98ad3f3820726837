"""`llmscale run`: answer every row of a file."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmscale.cli import options
from llmscale.core.choices import ChatFormatOrAuto

if TYPE_CHECKING:
    from llmscale.runtime.run_result import RunResult


def run(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="JSONL files, .gz files, globs, or - for standard input."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where the answers go. Default: NAME.results.jsonl in the current folder; "
            "- streams to standard output.",
        ),
    ] = None,
    config: options.ConfigFile = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    api_key_env: options.ApiKeyEnv = None,
    allow_host: options.AllowHost = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Rows in flight. Default: 64, local: its slots.")
    ] = None,
    rpm: options.Rpm = None,
    tpm: options.Tpm = None,
    max_cost: options.MaxCost = None,
    strategy: options.StrategyOption = None,
    no_adaptive: options.NoAdaptive = False,
    timeout: options.Timeout = None,
    max_attempts: options.MaxAttempts = None,
    retry_time: options.RetryTime = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    seed: options.Seed = None,
    stop: options.Stop = None,
    system: options.System = None,
    template: options.Template = None,
    param: options.Param = None,
    json_schema: options.JsonSchema = None,
    cache_mode: options.CacheModeOption = None,
    cache_dir: options.CacheDir = None,
    cache_ttl: options.CacheTtl = None,
    cache_max_size: options.CacheMaxSize = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Only the first N rows; can be raised later.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, send nothing.")
    ] = False,
    overwrite: options.Overwrite = False,
    output_format: Annotated[
        ChatFormatOrAuto | None,
        typer.Option(help="Shape of the output lines. Default: auto, the shape of the input."),
    ] = None,
    report: options.Report = None,
    fail_on: options.FailOn = None,
    alert_on: options.AlarmOn = None,
    alert: options.Alarm = None,
    metrics: options.Metrics = None,
    junit: options.Junit = None,
    json_summary: options.JsonSummary = False,
    otel: options.Otel = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    log_format: options.LogFormatOption = None,
) -> None:
    """Answer every row of a JSONL file. The same command again resumes, or retries what failed."""
    flags = options.given(locals())
    flags.pop("dry_run", None)
    from llmscale.cli.exit_codes import job_ended

    raise typer.Exit(job_ended(flags, _dry_run if dry_run else _run, keeps=not dry_run))


def _run(settings: Any) -> "RunResult":
    from llmscale.commands.run import run as run_job

    return run_job(settings)


def _dry_run(settings: Any) -> "RunResult":
    from llmscale.commands.dry_run import preview
    from llmscale.core.printable import printable
    from llmscale.runtime.run_result import RunResult

    seen = preview(settings)
    for label, fact in seen.facts:
        typer.echo(f"{label:<10} {printable(fact)}")
    for complaint in seen.bad_rows:
        typer.echo(f"bad row    {printable(complaint)}")
    typer.echo("nothing was sent")
    return RunResult(seen.exit_code)
