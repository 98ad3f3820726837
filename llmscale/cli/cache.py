"""`llmscale cache`: inspect stored answers, explain misses, remove and move entries."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from llmscale.cli.command import Options, takes
from llmscale.cli.help_format import Command, CommandGroup
from llmscale.cli.options import (
    AsJson,
    CacheDir,
    CacheMaxSize,
    CacheTtl,
    ConfigFile,
    ModelName,
    SamplingOptions,
    Template,
)

cache = typer.Typer(
    cls=CommandGroup,
    help="Inspect stored answers, explain misses, remove and move entries.",
    add_completion=False,
    rich_markup_mode=None,
)

ModelPattern = Annotated[
    str,
    typer.Option(
        "-m", "--model", metavar="PATTERN", help="Only entries of models like 'openai/*'."
    ),
]


class LocationOptions(Options):
    """Where the cache is."""

    config: ConfigFile = None
    cache_dir: CacheDir = None


class StatsOptions(LocationOptions):
    """What `llmscale cache stats` takes."""

    as_json: AsJson = False


class ExplainOptions(SamplingOptions, LocationOptions):
    """What `llmscale cache explain` takes: the options of `run` that change an answer."""

    row_or_file: Annotated[
        str, typer.Argument(metavar="ROW_OR_FILE", help="A row as JSON, or a file of rows.")
    ]
    model: ModelName = None
    template: Template = None
    cache_ttl: CacheTtl = None


class PruneOptions(LocationOptions):
    """What `llmscale cache prune` takes."""

    cache_ttl: CacheTtl = None
    cache_max_size: CacheMaxSize = None


class ClearOptions(LocationOptions):
    """What `llmscale cache clear` takes."""

    model_pattern: ModelPattern = "*"
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only entries older than this: 12h, 7d.")
    ] = None
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False


class ExportOptions(LocationOptions):
    """What `llmscale cache export` takes."""

    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A JSONL file, or - for standard output.")
    ]
    model_pattern: ModelPattern = "*"


class ImportOptions(LocationOptions):
    """What `llmscale cache import` takes."""

    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that export wrote.")]


@cache.command(cls=Command)
@takes
def stats(given: StatsOptions) -> None:
    """Show what is stored, what it saved, and the hit rate."""

    def command(settings: Any) -> int:
        from llmscale.cli.tables.cache import print_stats
        from llmscale.commands import cache as cache_use

        found = cache_use.stats(settings.cache)
        if given.as_json:
            _print_json(found)
        else:
            print_stats(found)
        return 0

    _ended(command, given)


@cache.command(cls=Command)
@takes
def explain(given: ExplainOptions) -> None:
    """Explain cache misses: how a row differs from the nearest entry.

    Takes the options of run that change an answer. Exits with code 1 if there is a miss.
    """

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use
        from llmscale.core.printable import printable

        found = cache_use.explain(settings, given.row_or_file)
        for miss in found.explained:
            typer.echo(printable(str(miss)))
        if found.misses > len(found.explained):
            typer.echo(f"... and {found.misses - len(found.explained)} more misses")
        typer.echo(f"{found.hits} hits, {found.misses} misses, {found.bad_rows} invalid rows")
        return int(found.misses > 0)

    _ended(command, given)


@cache.command(cls=Command)
@takes
def clear(given: ClearOptions) -> None:
    """Remove entries by model and age.

    Their answers would be paid for again.
    """

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use

        older_than_s = None if given.older_than is None else _seconds(given.older_than)
        count = cache_use.clear(settings.cache, given.model_pattern, older_than_s, really=False)
        if not given.yes and not _confirmed(f"Remove {count} entries?"):
            typer.echo("nothing was removed; pass --yes to skip the question", err=True)
            return 1
        removed = cache_use.clear(settings.cache, given.model_pattern, older_than_s, really=True)
        typer.echo(f"{removed} entries removed")
        return 0

    _ended(command, given)


@cache.command(cls=Command)
@takes
def prune(given: PruneOptions) -> None:
    """Remove expired entries, then the least recently used ones.

    Stops when the cache is within its size limit.
    """

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use

        expired, evicted = cache_use.prune(settings.cache)
        typer.echo(f"{expired} entries expired, {evicted} evicted")
        return 0

    _ended(command, given)


@cache.command("export", cls=Command)
@takes
def export_(given: ExportOptions) -> None:
    """Write entries to a JSONL file."""

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use

        count = cache_use.export(settings.cache, given.file, given.model_pattern)
        typer.echo(f"{count} entries exported", err=True)
        return 0

    _ended(command, given)


@cache.command("import", cls=Command)
@takes
def import_(given: ImportOptions) -> None:
    """Store the entries of an exported file."""

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use

        count = cache_use.import_(settings.cache, given.file)
        typer.echo(f"{count} entries imported; they are trusted as they are", err=True)
        return 0

    _ended(command, given)


def _ended(command: Callable[[Any], int], given: Options) -> None:
    """Load the settings, run the command, exit."""
    from llmscale import config
    from llmscale.cli.endings import ended

    raise typer.Exit(ended(lambda: command(config.load(given.settings(), file=given.config))))


def _confirmed(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # nobody there to answer, or Ctrl-C
        return False


def _seconds(text: str) -> float:
    from llmscale.core.errors import ConfigError
    from llmscale.core.units import duration_s

    try:
        return duration_s(text)
    except ValueError as error:
        raise ConfigError(f"--older-than: {error}") from None


def _print_json(value: Any) -> None:
    from llmscale.core.printable import printable_json

    typer.echo(printable_json(value))
