"""`llmscale cache`: look at the stored answers, explain misses, remove, move."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from llmscale.cli import options

app = typer.Typer(
    help="Look at the stored answers, explain misses, remove and move entries.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ModelPattern = Annotated[
    str,
    typer.Option("--model", metavar="PATTERN", help="Only entries of these models: 'openai/*'."),
]


@app.command()
def stats(
    config: options.ConfigFile = None,
    cache_dir: options.CacheDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what is stored, what it has saved, and how often it was hit."""

    def command(settings: Any) -> int:
        from llmscale.cli.tables.cache import print_stats
        from llmscale.commands import cache as cache_use

        found = cache_use.stats(settings.cache)
        if as_json:
            _print_json(found)
        else:
            print_stats(found)
        return 0

    _ended(command, config, cache_dir=cache_dir)


@app.command()
def explain(
    row_or_file: Annotated[
        str, typer.Argument(metavar="ROW_OR_FILE", help="A row as JSON, or a file of rows.")
    ],
    config: options.ConfigFile = None,
    model: options.Model = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    seed: options.Seed = None,
    stop: options.Stop = None,
    system: options.System = None,
    template: options.Template = None,
    param: options.Param = None,
    json_schema: options.JsonSchema = None,
    cache_dir: options.CacheDir = None,
    cache_ttl: options.CacheTtl = None,
) -> None:
    """Tell whether rows would be hit; if not, in which fields the nearest entry differs.

    Takes the options of `run` that change an answer. Exit code 0: all would be hit, 1: not all.
    """
    flags = options.given(locals())
    flags.pop("row_or_file")
    config_file = flags.pop("config", None)

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use
        from llmscale.core.printable import printable

        found = cache_use.explain(settings, row_or_file)
        for miss in found.explained:
            typer.echo(printable(str(miss)))
        if found.misses > len(found.explained):
            typer.echo(f"... and {found.misses - len(found.explained)} more misses")
        typer.echo(f"{found.hits} hits, {found.misses} misses, {found.bad_rows} rows that are none")
        return int(found.misses > 0)

    _ended(command, config_file, **flags)


@app.command()
def clear(
    model: ModelPattern = "*",
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only entries older than this: 12h, 7d.")
    ] = None,
    yes: Yes = False,
    config: options.ConfigFile = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Remove entries, by model and age. They would have to be paid for again."""

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use

        older_than_s = None if older_than is None else _seconds(older_than)
        count = cache_use.clear(settings.cache, model, older_than_s, really=False)
        if not yes and not _confirmed(f"Remove {count} entries?"):
            typer.echo("nothing was removed; --yes removes without asking", err=True)
            return 1
        removed = cache_use.clear(settings.cache, model, older_than_s, really=True)
        typer.echo(f"{removed} entries removed")
        return 0

    _ended(command, config, cache_dir=cache_dir)


@app.command()
def prune(
    config: options.ConfigFile = None,
    cache_dir: options.CacheDir = None,
    cache_ttl: options.CacheTtl = None,
    cache_max_size: options.CacheMaxSize = None,
) -> None:
    """Drop what is expired, then the least recently used until the size limit holds."""

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use

        expired, evicted = cache_use.prune(settings.cache)
        typer.echo(f"{expired} entries expired, {evicted} evicted")
        return 0

    _ended(command, config, cache_dir=cache_dir, cache_ttl=cache_ttl, cache_max_size=cache_max_size)


@app.command("export")
def export_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSONL; - is standard output.")],
    model: ModelPattern = "*",
    config: options.ConfigFile = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Write entries to a JSONL file."""

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use

        typer.echo(f"{cache_use.export(settings.cache, file, model)} entries exported", err=True)
        return 0

    _ended(command, config, cache_dir=cache_dir)


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote.")],
    config: options.ConfigFile = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Store the entries of an export."""

    def command(settings: Any) -> int:
        from llmscale.commands import cache as cache_use

        typer.echo(f"{cache_use.import_(settings.cache, file)} entries imported", err=True)
        return 0

    _ended(command, config, cache_dir=cache_dir)


def _ended(command: Callable[[Any], int], config_file: Any, **flags: Any) -> None:
    """Load the settings, run the command, exit."""
    from llmscale import config
    from llmscale.cli.exit_codes import ended
    from llmscale.observe import logs

    logs.set_up()
    raise typer.Exit(ended(lambda: command(config.load(flags, file=config_file))))


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
