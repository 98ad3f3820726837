"""`llmscale completion`: the words of commands and options for the Tab key of a shell.

The script asks `llmscale` itself for the words, by the variable `_LLMSCALE_COMPLETE`.
"""

from typing import Annotated, Literal

import typer

from llmscale.cli.command import command

Shell = Literal["bash", "zsh", "fish"]

EXAMPLES = """
Examples:

\b
  llmscale completion bash >> ~/.bashrc
  llmscale completion zsh >> ~/.zshrc
  llmscale completion fish > ~/.config/fish/completions/llmscale.fish
"""


@command(epilog=EXAMPLES)
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print a completion script for bash, zsh or fish."""
    from typer._completion_shared import get_completion_script

    script = get_completion_script(
        prog_name="llmscale", complete_var="_LLMSCALE_COMPLETE", shell=shell
    )
    typer.echo(script)


def register_shells() -> None:
    """Let typer answer the scripts."""
    from typer._completion_classes import completion_init

    completion_init()
