"""`llmscale help`: the manual on a terminal, and as Markdown for everything else."""

import sys
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from llmscale.cli.command import command
from llmscale.core.errors import ConfigError

MAX_COLUMNS = 100

EXAMPLES = """
Examples:

\b
  llmscale help cost
  llmscale help --search retry-after
"""


@command(epilog=EXAMPLES)
def help(  # noqa: A001
    topic: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC]", help="A topic or a command.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="WORD", help="Show the lines of all pages with this word.")
    ] = None,
) -> None:
    """Show the manual: its topics, one page, or a search."""
    from llmscale.cli.endings import ended

    def shown() -> int:
        if search is not None:
            return _search(search)
        return _show(" ".join(topic)) if topic else _list()

    raise typer.Exit(ended(shown))


def _list() -> int:
    from llmscale.commands import help as manual

    for heading, topics in manual.TOPICS.items():
        typer.echo(f"{heading}:")
        for topic in topics:
            typer.echo(f"  {topic:<16} {manual.summary(topic)}")
        typer.echo()
    typer.echo("`llmscale help TOPIC` shows a page, `llmscale help --search WORD` searches them.")
    return 0


def _show(topic: str) -> int:
    from llmscale.commands import help as manual

    if topic not in manual.topics() and (text := _usage(topic)) is not None:
        typer.echo(text)
        return 0
    if topic not in manual.topics() and (command := _nearest_command(topic)) is not None:
        raise ConfigError(f"unknown topic {topic}; did you mean {command}?")
    page = manual.page(topic)
    if not sys.stdout.isatty():
        typer.echo(page, nl=False)
        return 0
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(page), width=min(MAX_COLUMNS, console.width))
    return 0


def _search(word: str) -> int:
    from llmscale.commands import help as manual

    found = False
    for match in manual.search(word):
        found = True
        typer.echo(f"{match.topic}:{match.line}: {match.text}")
    if not found:
        typer.echo(f"no page has {word!r}", err=True)
    return 0 if found else 1


def _nearest_command(topic: str) -> str | None:
    from llmscale.cli import COMMANDS

    names = [name for under in COMMANDS.values() for name in under]
    return next(iter(get_close_matches(topic, names, n=1, cutoff=0.8)), None)


def _usage(name: str) -> str | None:
    """Return what --help shows of a command; None: there is no such command."""
    from typer.main import get_command

    from llmscale.cli import PROGRAM, app

    found: Any = get_command(app)
    context = typer.Context(found, info_name=PROGRAM)
    for word in name.split():
        found = found.get_command(context, word) if hasattr(found, "get_command") else None
        if found is None:
            return None
        context = typer.Context(found, info_name=word, parent=context)
    text: str = found.get_help(context)
    return text
