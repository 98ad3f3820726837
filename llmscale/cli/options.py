"""Options that several commands share: one name, one help text, one meaning."""

from typing import Annotated

import typer

from llmscale.core.choices import CacheMode, LogFormat, StrategyName

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings. Default: ./llmscale.toml if it is there."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="PROVIDER/NAME",
        help="openai/..., anthropic/..., local/..., sim/... Default: local/smollm2.",
    ),
]
MaxTokens = Annotated[int | None, typer.Option(metavar="N", help="Bound of an answer's length.")]
Temperature = Annotated[float | None, typer.Option(metavar="T", help="0 to 2.")]
TopP = Annotated[float | None, typer.Option(metavar="P", help="0 to 1.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Seed for sampling.")]
Stop = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Ends an answer. Repeatable.")]
System = Annotated[
    str | None, typer.Option(metavar="TEXT", help="System message for rows without one.")
]
Template = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Prompt made from the fields of a row: '... {field}'."),
]
Param = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=JSON", help="Any further field of the request. Repeatable."),
]
JsonSchema = Annotated[
    str | None, typer.Option(metavar="FILE", help="A JSON Schema that every answer has to fit.")
]
CacheDir = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Where the cache is. Default: the user's cache folder."),
]
CacheMaxSize = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Bound of the cache. Default: 10GB.")
]
CacheTtl = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long an answer lasts: 12h, 7d.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]

BaseUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Another server with the same API.")
]
ApiKeyEnv = Annotated[
    str | None, typer.Option(metavar="NAME", help="The variable that holds the key.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST", help="Let a key go to this host too. Repeatable."),
]
Rpm = Annotated[
    str | None,
    typer.Option(metavar="RATE", help="Requests a minute at most: 500, 500/min, 10/s."),
]
Tpm = Annotated[
    str | None,
    typer.Option(metavar="RATE", help="Tokens a minute at most, in and out: 200000."),
]
MaxCost = Annotated[
    float | None,
    typer.Option(metavar="USD", help="Dollars that the job may cost, over all its runs."),
]
StrategyOption = Annotated[
    StrategyName | None,
    typer.Option(help="Which endpoint of several takes a call. Default: least-loaded."),
]
NoAdaptive = Annotated[
    bool,
    typer.Option(
        "--no-adaptive", help="Have as much in flight as may be, even where it is too much."
    ),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="S", help="Seconds for one attempt. Default: 120.")
]
MaxAttempts = Annotated[
    int | None, typer.Option(metavar="N", help="Attempts for a row. Default: 5.")
]
RetryTime = Annotated[
    float | None,
    typer.Option(metavar="S", help="Seconds after which no retry begins. Default: 600."),
]
CacheModeOption = Annotated[
    CacheMode | None,
    typer.Option(
        "--cache",
        help="on: use and fill; read: only use; write: only fill; refresh: ask anew; off. "
        "Default: on.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Begin anew, giving up what is there.")
]
Report = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Where the report goes. Default: NAME.report.json."),
]
FailOn = Annotated[
    str | None,
    typer.Option(
        metavar="RULES",
        help="Exit code 1 where one has tripped at the end: 'errors>1%,p95>30s,cost>5'.",
    ),
]
AlarmOn = Annotated[
    str | None,
    typer.Option(
        metavar="RULES",
        help="What warns while it runs. Default: "
        "errors>5%,call_p99>30s,stalled>60s,spend>=80%,spend>=100%.",
    ),
]
Alarm = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TARGET",
        help="Who else is told: http(s)://..., env:NAME (which holds the address), exec:COMMAND. "
        "Repeatable.",
    ),
]
Metrics = Annotated[
    str | None, typer.Option(metavar="FILE", help="Numbers for Prometheus, kept up to date.")
]
Junit = Annotated[str | None, typer.Option(metavar="FILE", help="How it ended, as JUnit XML.")]
JsonSummary = Annotated[
    bool, typer.Option("--json-summary", help="How it ended, as JSON in the last line of stderr.")
]
Otel = Annotated[
    bool, typer.Option("--otel", help="An OpenTelemetry span for each call; needs the extra otel.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(help="Shape of what is said on stderr. Default: text."),
]


_SWITCHED_OFF = {"no_adaptive": "adaptive", "no_chunk": "embed_chunk"}
"""Flags that turn off a setting."""


def given(arguments: dict[str, object]) -> dict[str, object]:
    """Return the arguments of a command that were given; 0 and 0.0 are, None and False are not."""
    flags = {n: v for n, v in arguments.items() if not (v is None or v is False or v == [])}
    off = {setting: False for flag, setting in _SWITCHED_OFF.items() if flags.pop(flag, False)}
    return flags | off
