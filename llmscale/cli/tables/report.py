"""`llmscale report` on a terminal: all tables of a report, on standard output."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.accounting.run_numbers import Report
from llmscale.core.printable import printable
from llmscale.report.remarks import held_back, remarks, summary_line
from llmscale.report.sections import Section, sections

WIDTH_OF_A_FILE = 160


def print_report(report: Report, baseline: Report | None = None) -> None:
    """Show a report, beside that of an earlier run if there is one."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
    head = f"{report.output}, {report.started}: {summary_line(report)}"
    console.print(Text(printable(head), style="bold"), soft_wrap=True)
    for remark in (*remarks(report), *held_back(report.bottleneck)):
        console.print(Text(printable(remark)), soft_wrap=True)
    for section in sections(report, baseline):
        console.print()
        console.print(_table(section))


def _table(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left", title_style="bold", box=None)
    for number, name in enumerate(section.columns):
        if number:
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold", min_width=12)
    for row in section.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
