"""`llmscale search`: the chunks nearest to a query."""

from typing import Annotated, Any

import typer

from llmscale.cli import options

EXCERPT_CHARS = 200


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Any text.")],
    vectors: Annotated[
        list[str],
        typer.Argument(
            metavar="VECTORS...",
            help="What embed wrote: JSONL, .parquet, .db, or .npy with the JSONL beside it.",
        ),
    ],
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many to show.")] = 5,
    config: options.ConfigFile = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER/NAME", help="Embeds the query. Default: the model of the vectors."
        ),
    ] = None,
    base_url: options.BaseUrl = None,
    api_key_env: options.ApiKeyEnv = None,
    allow_host: options.AllowHost = None,
    cache_mode: options.CacheModeOption = None,
    cache_dir: options.CacheDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the chunks nearest to a query, by the cosine. Exit code 1: nothing to search in."""
    flags = options.given(
        {
            "base_url": base_url,
            "api_key_env": api_key_env,
            "allow_host": allow_host,
            "cache_mode": cache_mode,
            "cache_dir": cache_dir,
        }
    )

    def command() -> int:
        from llmscale.commands.search import search as nearest_to
        from llmscale.config import load

        found = nearest_to(load(flags, file=config), query, vectors, k, model)
        if as_json:
            _print_json(query, found)
        else:
            _print_lines(found)
        if not found.chunks:
            typer.echo("there is no vector to search in", err=True)
        return int(not found.chunks)

    from llmscale.cli.exit_codes import ended
    from llmscale.observe import logs

    logs.set_up()
    raise typer.Exit(ended(command))


def _print_lines(found: Any) -> None:
    """Show a line for each chunk; a terminal may break it, a pipe gets it whole."""
    from rich.console import Console
    from rich.text import Text

    from llmscale.core.printable import printable

    console = Console(highlight=False)
    for rank, (_, score, chunk) in enumerate(found.chunks, 1):
        line = Text(f"{rank:>2}  {score:.4f}  ")
        line.append(printable(_place(chunk)), style="bold")
        line.append(f"  {printable(_excerpt(chunk.text or ''))}")
        console.print(line, soft_wrap=True)


def _place(chunk: Any) -> str:
    name = chunk.source or chunk.id or f"row {chunk.index}"
    return name if chunk.start is None else f"{name}:{chunk.start}-{chunk.end}"


def _excerpt(text: str) -> str:
    """Return the beginning of a text as one line."""
    words = " ".join(text[: 4 * EXCERPT_CHARS].split())
    is_whole = len(words) <= EXCERPT_CHARS and len(text) <= 4 * EXCERPT_CHARS
    return words if is_whole else f"{words[:EXCERPT_CHARS].rstrip()}..."


def _print_json(query: str, found: Any) -> None:
    from llmscale.core.printable import printable_json

    hits = [
        {"rank": rank, "score": round(score, 6), "file": file}
        | {name: getattr(chunk, name) for name in ("id", "index", "source", "start", "end", "text")}
        for rank, (file, score, chunk) in enumerate(found.chunks, 1)
    ]
    shown = {"query": query, "model": found.model, "hits": hits}
    typer.echo(printable_json(shown))
