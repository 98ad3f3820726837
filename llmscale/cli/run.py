"""`llmscale run`: answer every row of a file."""

from typing import Annotated, Any

import typer

from llmscale.cli import options


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
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Another server with the same API.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable that holds the key.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Let a key go to this host too. Repeatable."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Rows in flight. Default: 64, local: its slots.")
    ] = None,
    rpm: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Requests a minute at most: 500, 500/min, 10/s."),
    ] = None,
    tpm: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Tokens a minute at most, in and out: 200000."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds for one attempt. Default: 120.")
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help="Attempts for a row. Default: 5.")
    ] = None,
    retry_time: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds after which no retry begins. Default: 600."),
    ] = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    seed: options.Seed = None,
    stop: options.Stop = None,
    system: options.System = None,
    template: options.Template = None,
    param: options.Param = None,
    json_schema: options.JsonSchema = None,
    cache_mode: Annotated[
        options.CacheMode | None,
        typer.Option(
            "--cache",
            help="on: use and fill; read: only use; write: only fill; refresh: ask anew; off. "
            "Default: on.",
        ),
    ] = None,
    cache_dir: options.CacheDir = None,
    cache_ttl: options.CacheTtl = None,
    cache_max_size: options.CacheMaxSize = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Only the first N rows; can be raised later.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, send nothing.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, giving up what is there.")
    ] = False,
    output_format: Annotated[
        options.OutputFormat | None,
        typer.Option(help="Shape of the output lines. Default: auto, the shape of the input."),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where the report goes. Default: NAME.report.json."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    log_format: Annotated[
        options.LogFormat | None,
        typer.Option(help="Shape of what is said on stderr. Default: text."),
    ] = None,
) -> None:
    """Answer every row of a JSONL file. The same command again resumes, or retries what failed."""
    flags = options.given(locals())
    flags.pop("dry_run", None)
    raise typer.Exit(_run(flags.pop("config", None), flags, dry_run=dry_run))


def _run(config_file: Any, flags: dict[str, Any], *, dry_run: bool) -> int:
    from llmscale import config, logs
    from llmscale.cli.ending import ended

    logs.set_up(quiet="quiet" in flags, log_format=flags.get("log_format", "text"))

    def command() -> int:
        settings = config.load(flags, file=config_file)
        logs.set_up(quiet=settings.quiet, verbose=settings.verbose, log_format=settings.log_format)
        if dry_run:
            return _dry_run(settings)
        from llmscale.assemble.run import run as run_job

        return run_job(settings)

    keeps = flags.get("output") != "-"  # of a stream nothing is kept, so nothing is resumed
    return ended(command, resumes=keeps and not dry_run)


def _dry_run(settings: Any) -> int:
    from llmscale.assemble.preview import preview
    from llmscale.logs import printable

    seen = preview(settings)
    for label, fact in seen.facts:
        typer.echo(f"{label:<10} {printable(fact)}")
    for complaint in seen.bad_rows:
        typer.echo(f"bad row    {printable(complaint)}")
    typer.echo("nothing was sent")
    return seen.exit_code
