"""`llmscale limits`: which budgets apply to an input, and which of them binds."""

from typing import Annotated

import typer

from llmscale.cli import options


def limits(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="JSONL files, .gz files, globs, or - for standard input."
        ),
    ],
    config: options.ConfigFile = None,
    model: options.Model = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the budgets of endpoints and users, and how long they make the rows take at least.

    Reads the rows; opens and sends nothing.
    """
    from llmscale.cli.exit_codes import ended
    from llmscale.observe import logs

    logs.set_up()
    flags = options.given({"inputs": inputs, "model": model})
    raise typer.Exit(ended(lambda: _limits(config, flags, as_json=as_json)))


def _limits(config_file: str | None, flags: dict[str, object], *, as_json: bool) -> int:
    from llmscale import config
    from llmscale.commands.limits import limits as budgets

    found = budgets(config.load(flags, file=config_file))
    if as_json:
        from llmscale.core.printable import printable_json

        typer.echo(printable_json(found))
    else:
        from llmscale.cli.tables.limits import print_limits

        print_limits(found)
    return 0
