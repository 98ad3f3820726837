"""The options that commands share: a class for each group of options, and a command takes several.

A field is an option as typer wants it: one name, one help text, one meaning. Nothing here imports
the settings, which `--help` does not need.
"""

from typing import Annotated

import typer

from llmscale.cli.command import Options
from llmscale.core.choices import CacheMode, LogFormat, StrategyName
from llmscale.providers import prefixes

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check everything; send nothing.")]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="Read settings from this file.",
        show_default="./llmscale.toml, if present",
    ),
]
Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="JSONL files, .gz files, globs; - for standard input."),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="PROVIDER/NAME",
        help=f"Model to use: {prefixes()}.",
        show_default="local/smollm2",
    ),
]
Template = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Build prompts from row fields: '... {field}'."),
]
ReportFile = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write the report to this file.",
        show_default="NAME.report.json",
        rich_help_panel="Output",
    ),
]
CacheDir = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Cache folder.", show_default="the user's cache folder"),
]
CacheTtl = Annotated[
    str | None, typer.Option(metavar="TIME", help="Expire answers after this time: 12h, 7d.")
]
CacheMaxSize = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Maximum cache size.", show_default="10GB")
]


class RowOptions(Options):
    """The rows to read."""

    GROUP = "Input"

    inputs: Inputs
    template: Template = None
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="Only run the first N rows; can be raised later."),
    ] = None


class AnswerOptions(Options):
    """Where answers go."""

    GROUP = "Output"

    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write answers to this file; - is standard output.",
            show_default="./NAME.results.jsonl",
        ),
    ] = None


class ResultOptions(Options):
    """Where the report goes, and whether a job starts over."""

    GROUP = "Output"

    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Discard existing results and start over.")
    ] = False
    report: ReportFile = None


class EndpointOptions(Options):
    """Where calls go."""

    GROUP = "Model"

    config: ConfigFile = None
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Use another server with the same API."),
    ] = None
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Read the API key from this environment variable."),
    ] = None
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Allow sending API keys to this host. Repeatable."),
    ] = None


class ModelOptions(EndpointOptions):
    """Which model answers."""

    GROUP = "Model"

    model: ModelName = None


class ParamOptions(Options):
    """Fields of requests that have no option of their own."""

    GROUP = "Sampling"

    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=JSON", help="Set any other request field. Repeatable."),
    ] = None


class SamplingOptions(ParamOptions):
    """What a request asks for."""

    GROUP = "Sampling"

    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="System message for rows without one.")
    ] = None
    json_schema: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Require answers that match this JSON Schema."),
    ] = None
    repair: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Send an answer that doesn't match the schema back, up to N times.",
            show_default="0",
        ),
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Maximum completion tokens.")
    ] = None
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="Sampling temperature, 0 to 2.")
    ] = None
    top_p: Annotated[
        float | None, typer.Option(metavar="P", help="Nucleus sampling threshold, 0 to 1.")
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Sampling seed.")] = None
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Stop sequence. Repeatable.")
    ] = None


class RateLimitOptions(Options):
    """How many calls are in flight, how fast they go, and to which endpoint."""

    GROUP = "Limits"

    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Maximum rows in flight.",
            show_default="64; local models: their slots",
        ),
    ] = None
    rpm: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Maximum requests per minute: 500, 500/min, 10/s."),
    ] = None
    tpm: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Maximum tokens per minute, input and output."),
    ] = None
    strategy: Annotated[
        StrategyName | None,
        typer.Option(
            metavar="NAME",
            help="Balance by least-loaded, latency, cost or round-robin.",
            show_default="least-loaded",
        ),
    ] = None
    no_adaptive: Annotated[
        bool,
        typer.Option(
            "--no-adaptive",
            help="Always use the full concurrency; don't back off when an endpoint saturates.",
        ),
    ] = False


class RetryOptions(Options):
    """How long an attempt may take, and when another one begins."""

    GROUP = "Retries"

    timeout: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds before an attempt times out.", show_default="120"),
    ] = None
    max_attempts: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Maximum attempts per row, the first included.", show_default="5"
        ),
    ] = None
    retry_time: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Start no retry of a row after this many seconds.", show_default="600"
        ),
    ] = None
    max_failures: Annotated[
        str | None,
        typer.Option(
            metavar="N|P%",
            help="Stop the run after N failed rows, or a share of more than P%.",
        ),
    ] = None


class CacheLocationOptions(Options):
    """Where the cache is."""

    GROUP = "Cache"

    cache_dir: CacheDir = None


class CacheUseOptions(CacheLocationOptions):
    """What the cache is used for."""

    GROUP = "Cache"

    cache_mode: Annotated[
        CacheMode | None,
        typer.Option(
            "--cache",
            metavar="MODE",
            help="on, off, read, write or refresh.",
            show_default="on",
        ),
    ] = None


class CacheOptions(CacheUseOptions):
    """Stored answers."""

    GROUP = "Cache"

    cache_ttl: CacheTtl = None
    cache_max_size: CacheMaxSize = None


class CostOptions(Options):
    """What a job may cost."""

    GROUP = "Cost"

    max_cost: Annotated[
        float | None,
        typer.Option(metavar="USD", help="Maximum dollars for the job, over all its runs."),
    ] = None


class AlertOptions(Options):
    """Who watches a run: rules, alerts, and files for other programs."""

    GROUP = "Alerts and metrics"

    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="RULES",
            help="Exit with 1 if a rule trips; 'errors>1%' accepts fewer failed rows.",
        ),
    ] = None
    alert_on: Annotated[
        str | None,
        typer.Option(
            metavar="RULES",
            help="Alert as soon as a rule trips.",
            show_default="errors>5%, call_p99>30s, stalled>60s, spend>=80%, spend>=100%",
        ),
    ] = None
    alert: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET",
            help="Send alerts to http(s)://..., env:NAME (a variable that holds the URL) or "
            "exec:COMMAND. Repeatable.",
        ),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Keep Prometheus metrics up to date in this file."),
    ] = None
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the result as JUnit XML.")
    ] = None
    json_summary: Annotated[
        bool,
        typer.Option("--json-summary", help="Print the result as JSON, last line of stderr."),
    ] = False
    otel: Annotated[
        bool,
        typer.Option("--otel", help="Export OpenTelemetry spans (extra: otel)."),
    ] = False


class LoggingOptions(Options):
    """What is printed on stderr."""

    GROUP = "Logging"

    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only print errors.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print debug logs.")] = False
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            metavar="FORMAT", help="Format of log lines: text or json.", show_default="text"
        ),
    ] = None


class JobOptions(
    LoggingOptions,
    CostOptions,
    CacheOptions,
    SamplingOptions,
    RetryOptions,
    RateLimitOptions,
    ModelOptions,
    AnswerOptions,
    RowOptions,
):
    """What `run` asks, of which model, how fast, and where the answers are.

    Commands that predict what `run` would do take the same.
    """

    EVERYDAY = (
        *("output", "model", "base_url", "system", "template", "json_schema", "max_tokens"),
        *("temperature", "concurrency", "max_cost", "limit", "dry_run"),
    )
