"""`llmscale embed`: vectors for files, folders and rows."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmscale.cli import options
from llmscale.core.choices import VectorFormat

if TYPE_CHECKING:
    from llmscale.runtime.run_result import RunResult


def embed(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help='Folders, files, globs; JSONL rows with "text"; - for rows on standard input.',
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where the vectors go, as JSONL. Default: NAME.vectors.jsonl in the current "
            "folder; - streams to standard output.",
        ),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Also write them as .npy, .parquet or .db (SQLite). Repeatable.",
        ),
    ] = None,
    config: options.ConfigFile = None,
    embed_model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="PROVIDER/NAME",
            help="openai/..., local/wordllama, sim/... Default: local/wordllama.",
        ),
    ] = None,
    base_url: options.BaseUrl = None,
    api_key_env: options.ApiKeyEnv = None,
    allow_host: options.AllowHost = None,
    embed_dimensions: Annotated[
        int | None,
        typer.Option("--dimensions", metavar="N", help="Numbers in a vector. Default: all."),
    ] = None,
    embed_normalize: Annotated[
        bool, typer.Option("--normalize", help="Make every vector as long as 1.")
    ] = False,
    embed_truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut a text that is too long, instead of failing.")
    ] = False,
    embed_vectors: Annotated[
        VectorFormat | None,
        typer.Option("--vectors", help="How a vector is written. Default: numbers."),
    ] = None,
    embed_chunk_tokens: Annotated[
        int | None,
        typer.Option("--chunk-tokens", metavar="N", help="Bound of a chunk. Default: 256."),
    ] = None,
    embed_overlap: Annotated[
        int | None,
        typer.Option("--overlap", metavar="N", help="Tokens shared with the next. Default: 0."),
    ] = None,
    no_chunk: Annotated[
        bool, typer.Option("--no-chunk", help="Embed each file as a whole.")
    ] = False,
    embed_include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="PATTERN", help="Only such files: '*.md'. Repeatable."),
    ] = None,
    embed_exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="No such files. Repeatable."),
    ] = None,
    embed_batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", help="Texts in a call. Default: 50."),
    ] = None,
    embed_batch_tokens: Annotated[
        int | None,
        typer.Option("--batch-tokens", metavar="N", help="Tokens in a call. Default: 100000."),
    ] = None,
    embed_batch_bytes: Annotated[
        str | None,
        typer.Option("--batch-bytes", metavar="SIZE", help="Bytes in a call. Default: 1MB."),
    ] = None,
    embed_batch_wait: Annotated[
        float | None,
        typer.Option("--batch-wait", metavar="S", help="Seconds that a text waits. Default: 1."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Calls in flight. Default: 16, local: cores.")
    ] = None,
    rpm: options.Rpm = None,
    tpm: options.Tpm = None,
    max_cost: options.MaxCost = None,
    strategy: options.StrategyOption = None,
    no_adaptive: options.NoAdaptive = False,
    timeout: options.Timeout = None,
    max_attempts: options.MaxAttempts = None,
    retry_time: options.RetryTime = None,
    param: options.Param = None,
    cache_mode: options.CacheModeOption = None,
    cache_dir: options.CacheDir = None,
    cache_ttl: options.CacheTtl = None,
    cache_max_size: options.CacheMaxSize = None,
    overwrite: options.Overwrite = False,
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
    """Turn files, folders or rows into vectors. What has not changed is not embedded again."""
    flags = options.given(locals())
    from llmscale.cli.exit_codes import job_ended

    raise typer.Exit(job_ended(flags, _embed))


def _embed(settings: Any) -> "RunResult":
    from llmscale.commands.embed import embed as run_job

    return run_job(settings)
