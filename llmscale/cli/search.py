"""`llmscale search`: the chunks nearest to a query."""

from typing import Annotated, Any

import typer

from llmscale.cli.command import command
from llmscale.cli.options import AsJson, CacheUseOptions, EndpointOptions

EXCERPT_CHARS = 200


class SearchOptions(CacheUseOptions, EndpointOptions):
    """What `llmscale search` takes."""

    query: Annotated[str, typer.Argument(metavar="QUERY", help="Any text.")]
    vectors: Annotated[
        list[str],
        typer.Argument(
            metavar="VECTORS...",
            help="Output of embed: .jsonl, .parquet, .db, or .npy with its .jsonl beside it.",
        ),
    ]
    k: Annotated[
        int, typer.Option("-k", metavar="N", min=1, max=10_000, help="Number of results.")
    ] = 5
    query_model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="PROVIDER/NAME",
            help="Embed the query with this model.",
            show_default="the model of the vectors",
        ),
    ] = None
    as_json: AsJson = False


@command()
def search(given: SearchOptions) -> None:
    """Find the chunks nearest to a query by cosine similarity.

    Exits with code 1 if there is nothing to search.
    """
    from llmscale.cli.endings import ended

    raise typer.Exit(ended(lambda: _search(given)))


def _search(given: SearchOptions) -> int:
    from llmscale.commands.search import search as nearest_to
    from llmscale.config import load

    settings = load(given.settings(), file=given.config)
    found = nearest_to(settings, given.query, given.vectors, given.k, given.query_model)
    if given.as_json:
        _print_json(given.query, found)
    else:
        _print_lines(found)
    if not found.chunks:
        typer.echo("no vectors to search", err=True)
    return int(not found.chunks)


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
