"""`llmscale run`: answer every row of a file."""

from typing import Annotated, Any, Literal

import typer

OutputFormat = Literal["auto", "llmscale", "openai-batch"]
LogFormat = Literal["text", "json"]


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
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Settings. Default: ./llmscale.toml if it is there."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER/NAME",
            help="openai/..., anthropic/..., local/..., sim/... Default: local/smollm2.",
        ),
    ] = None,
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
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Bound of an answer's length.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(metavar="T", help="0 to 2.")] = None,
    top_p: Annotated[float | None, typer.Option(metavar="P", help="0 to 1.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed for sampling.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Ends an answer. Repeatable.")
    ] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="System message for rows without one.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Prompt made from the fields of a row: '... {field}'."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=JSON", help="Any further field of the request. Repeatable."),
    ] = None,
    json_schema: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A JSON Schema that every answer has to fit."),
    ] = None,
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
        OutputFormat | None,
        typer.Option(help="Shape of the output lines. Default: auto, the shape of the input."),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where the report goes. Default: NAME.report.json."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    log_format: Annotated[
        LogFormat | None, typer.Option(help="Shape of what is said on stderr. Default: text.")
    ] = None,
) -> None:
    """Answer every row of a JSONL file. The same command again resumes, or retries what failed."""
    given = {n: v for n, v in locals().items() if not (v is None or v is False or v == [])}
    given.pop("dry_run", None)
    raise typer.Exit(_run(given.pop("config", None), given, dry_run=dry_run))


def _run(config_file: str | None, flags: dict[str, Any], *, dry_run: bool) -> int:
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

    return ended(command, resumes=not dry_run)


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
