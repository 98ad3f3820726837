"""Options that several commands share: one name, one help text, one meaning."""

from typing import Annotated, Literal

import typer

CacheMode = Literal["off", "on", "read", "write", "refresh"]
LogFormat = Literal["text", "json"]
OutputFormat = Literal["auto", "llmscale", "openai-batch"]

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


def given(arguments: dict[str, object]) -> dict[str, object]:
    """Return the arguments of a command that were given; 0 and 0.0 are, None and False are not."""
    return {n: v for n, v in arguments.items() if not (v is None or v is False or v == [])}
