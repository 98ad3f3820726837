"""`llmscale plan` on a terminal: the checklist with its answers, and the commands that fix it."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.commands.plan.checks import Check
from llmscale.commands.plan.plan import PlanResult
from llmscale.core.printable import printable

_STYLES = {"yes": "green", "no": "red", "unknown": "yellow"}


def print_plan(found: PlanResult) -> None:
    """Print the checklist on standard output."""
    console = Console()
    for title, required in (("Required", True), ("Advice", False)):
        console.print(Text(title, style="bold"))
        console.print(_table(check for check in found.lines if check.required is required))
    commands = [check for check in found.lines if check.command]
    if commands:
        console.print(Text("Next steps", style="bold"))
    for check in commands:
        console.print(Text(printable(f"  {check.name}: {check.command}")), soft_wrap=True)
    failed = ", ".join(found.failed)
    verdict = f"not ready: {failed}" if failed else "ready: all required checks pass"
    console.print(Text(printable(verdict), style="bold"))


def _table(checks: Iterable[Check]) -> Table:
    table = Table(box=None, show_header=False)
    for _ in ("answer", "question", "evidence"):
        table.add_column(overflow="fold")
    for check in checks:
        answer = Text(check.answer, style=_STYLES[check.answer])
        table.add_row(answer, Text(printable(check.question)), Text(printable(check.evidence)))
    return table
