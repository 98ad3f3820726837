"""The plan as a table for a person: each line with its answer, and the commands that change it."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.core.printable import printable

_STYLES = {"yes": "green", "no": "red", "unknown": "yellow"}


def print_plan(found: dict[str, Any]) -> None:
    """Show what `commands.planning.plan` returned, on standard output."""
    console = Console()
    for title, required in (("Before scaling", True), ("On the way", False)):
        console.print(Text(title, style="bold"))
        table = Table(box=None, show_header=False)
        for _ in ("answer", "question", "evidence"):
            table.add_column(overflow="fold")
        for line in found["lines"]:
            if line["required"] is required:
                cells = (line["question"], line["evidence"])
                answer = Text(line["answer"], style=_STYLES[line["answer"]])
                table.add_row(answer, *(Text(printable(cell)) for cell in cells))
        console.print(table)
    commands = [line for line in found["lines"] if line["command"]]
    if commands:
        console.print(Text("What to do", style="bold"))
    for line in commands:
        console.print(Text(printable(f"  {line['name']}: {line['command']}")), soft_wrap=True)
    lacking = [line["name"] for line in found["lines"] if _is_lacking(line)]
    verdict = f"not ready: {', '.join(lacking)}" if lacking else "nothing that is required is a no"
    console.print(Text(printable(verdict), style="bold"))


def _is_lacking(line: dict[str, Any]) -> bool:
    return bool(line["required"]) and line["answer"] == "no"
