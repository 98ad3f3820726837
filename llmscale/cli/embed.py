"""`llmscale embed`: vectors for files, folders and rows."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmscale.cli.command import Options, command
from llmscale.cli.options import (
    AlertOptions,
    CacheOptions,
    CostOptions,
    DryRun,
    EndpointOptions,
    LoggingOptions,
    ParamOptions,
    RateLimitOptions,
    ResultOptions,
    RetryOptions,
)
from llmscale.core.choices import VectorFormat
from llmscale.providers import prefixes

if TYPE_CHECKING:
    from llmscale.runtime.run_result import RunResult

EXAMPLES = """
Examples:

\b
  llmscale embed docs/ -o vectors.jsonl
  llmscale embed docs/ -m openai/text-embedding-3-small --export vectors.npy
"""


class DocumentOptions(Options):
    """What to read, and how it becomes texts."""

    GROUP = "Input"

    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help='Folders, files, globs, JSONL rows with "text"; - for rows on standard input.',
        ),
    ]
    embed_include: Annotated[
        list[str] | None,
        typer.Option(
            "--include", metavar="PATTERN", help="Only embed files like '*.md'. Repeatable."
        ),
    ] = None
    embed_exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Skip files like 'drafts/*'. Repeatable.",
        ),
    ] = None
    embed_chunk_tokens: Annotated[
        int | None,
        typer.Option(
            "--chunk-tokens", metavar="N", help="Maximum tokens per chunk.", show_default="256"
        ),
    ] = None
    embed_overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap",
            metavar="N",
            help="Tokens that consecutive chunks share.",
            show_default="0",
        ),
    ] = None
    no_chunk: Annotated[bool, typer.Option("--no-chunk", help="Embed each file as a whole.")] = (
        False
    )


class VectorOptions(Options):
    """Where vectors go."""

    GROUP = "Output"

    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write vectors to this file; - is standard output.",
            show_default="./NAME.vectors.jsonl",
        ),
    ] = None
    dry_run: DryRun = False
    export: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Also write .npy, .parquet or .db. Repeatable."),
    ] = None
    embed_vectors: Annotated[
        VectorFormat | None,
        typer.Option(
            "--vectors",
            metavar="FORMAT",
            help="Write vectors as numbers or base64.",
            show_default="numbers",
        ),
    ] = None


class EmbeddingModelOptions(EndpointOptions):
    """Which model embeds, and what its vectors are like."""

    GROUP = "Model"

    embed_model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="PROVIDER/NAME",
            help=f"Model to use: {prefixes('embedding')}.",
            show_default="local/wordllama",
        ),
    ] = None
    embed_dimensions: Annotated[
        int | None,
        typer.Option(
            "--dimensions",
            metavar="N",
            help="Length of the vectors.",
            show_default="the model's",
        ),
    ] = None
    embed_normalize: Annotated[bool, typer.Option("--normalize", help="L2-normalize vectors.")] = (
        False
    )
    embed_truncate: Annotated[
        bool,
        typer.Option("--truncate", help="Truncate texts that are too long instead of failing."),
    ] = False


class BatchingOptions(RateLimitOptions):
    """How texts become calls."""

    GROUP = "Batching"

    embed_batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", metavar="N", help="Maximum texts per call.", show_default="50"
        ),
    ] = None
    embed_batch_tokens: Annotated[
        int | None,
        typer.Option(
            "--batch-tokens", metavar="N", help="Maximum tokens per call.", show_default="100000"
        ),
    ] = None
    embed_batch_bytes: Annotated[
        str | None,
        typer.Option(
            "--batch-bytes", metavar="SIZE", help="Maximum bytes per call.", show_default="1MB"
        ),
    ] = None
    embed_batch_wait: Annotated[
        float | None,
        typer.Option(
            "--batch-wait",
            metavar="S",
            help="Maximum seconds that a text waits for a full batch.",
            show_default="1",
        ),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Maximum calls in flight.",
            show_default="16; local models: the cores",
            rich_help_panel="Limits",
        ),
    ] = None


class EmbedOptions(
    ResultOptions,
    AlertOptions,
    LoggingOptions,
    CostOptions,
    CacheOptions,
    ParamOptions,
    RetryOptions,
    BatchingOptions,
    EmbeddingModelOptions,
    VectorOptions,
    DocumentOptions,
):
    """What `llmscale embed` takes."""

    EVERYDAY = (
        *("output", "export", "embed_model", "base_url", "embed_dimensions", "embed_normalize"),
        *("embed_chunk_tokens", "embed_overlap", "embed_include", "embed_exclude"),
        *("embed_batch_size", "max_cost"),
    )


@command(epilog=EXAMPLES)
def embed(given: EmbedOptions) -> None:
    """Turn files, folders or rows into vectors.

    The same command again only embeds what has changed.
    """
    from llmscale.cli.endings import job_ended

    work = _dry_run if given.dry_run else _embed
    raise typer.Exit(job_ended(given, work, keeps=not given.dry_run))


def _embed(settings: Any) -> "RunResult":
    from llmscale.commands.embed import embed as run_job

    return run_job(settings)


def _dry_run(settings: Any) -> "RunResult":
    from llmscale.cli.tables.dry_run import print_preview
    from llmscale.commands.embed import dry_run

    return print_preview(dry_run(settings))
