"""`llmscale limits`: which limits apply to an input, and which of them binds."""

import typer

from llmscale.cli.command import Options, command
from llmscale.cli.options import AsJson, ConfigFile, Inputs, ModelName


class LimitsOptions(Options):
    """What `llmscale limits` takes."""

    inputs: Inputs
    config: ConfigFile = None
    model: ModelName = None
    as_json: AsJson = False


@command()
def limits(given: LimitsOptions) -> None:
    """Show the limits of endpoints and users, and the minimum time they imply.

    Reads the rows; sends nothing.
    """
    from llmscale.cli.endings import ended

    raise typer.Exit(ended(lambda: _limits(given)))


def _limits(given: LimitsOptions) -> int:
    from llmscale import config
    from llmscale.commands.limits import limits as budgets

    found = budgets(config.load(given.settings(), file=given.config))
    if given.as_json:
        from llmscale.core.printable import printable_json

        typer.echo(printable_json(found))
    else:
        from llmscale.cli.tables.limits import print_limits

        print_limits(found)
    return 0
