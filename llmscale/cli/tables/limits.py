"""The budgets of a job as tables for a person."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.core.printable import printable

_NONE = "-"


def print_limits(found: dict[str, Any]) -> None:
    """Show what `commands.limits.limits` returned, on standard output."""
    console = Console()
    console.print(_heading(found), soft_wrap=True)
    console.print(_endpoints(found["endpoints"]))
    if found["users"]:
        console.print(_users(found["users"]))
    if found["more_users"]:
        console.print(Text(f"and {found['more_users']:,} more users, none of whom needs longer"))
    console.print(Text(printable(_binding(found))), soft_wrap=True)


def _heading(found: dict[str, Any]) -> Text:
    facts = [f"{found['rows']:,} rows, about {found['tokens']:,} tokens"]
    for name, label in (
        ("bad_rows", "that can't be used"),
        ("too_large", "above the tokens a minute of their user, which will fail"),
        ("rows_without_user", "without a user, and so without a user's limits"),
    ):
        if found[name]:
            facts.append(f"{found[name]:,} {label}")
    return Text("; ".join(facts), style="bold")


def _endpoints(endpoints: Iterable[dict[str, Any]]) -> Table:
    table = _table("endpoint", "in flight", "rpm", "burst", "tpm", "rpd", "tpd", "day ends in")
    for endpoint in endpoints:
        day = endpoint["rpd"] or endpoint["tpd"]
        _add(
            table,
            endpoint["name"],
            f"{endpoint['capacity']:,}",
            _left(endpoint["rpm"]),
            _number(endpoint["burst"]),
            _left(endpoint["tpm"]),
            _left(endpoint["rpd"]),
            _left(endpoint["tpd"]),
            _time(day["resets_in_s"] / 60) if day else _NONE,
        )
    return table


def _users(users: Iterable[dict[str, Any]]) -> Table:
    table = _table("user", "rows", "tokens", "rpm", "burst", "tpm", "at least")
    for user in users:
        _add(
            table,
            user["user"],
            f"{user['rows']:,}",
            f"{user['tokens']:,}",
            _left(user["rpm"]),
            _number(user["burst"]),
            _left(user["tpm"]),
            _time(user["minutes"]),
        )
    return table


def _binding(found: dict[str, Any]) -> str:
    binds = found["binds"]
    if binds is None:
        return "no budget binds: the job takes as long as its calls"
    return (
        f"{binds['budget']} of {binds['scope']} {binds['name']} binds: the job takes at least "
        f"{_time(found['minutes'])}"
    )


def _table(*columns: str) -> Table:
    table = Table(box=None)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


def _left(budget: dict[str, float] | None) -> str:
    """What is left, and of how much where that is not all."""
    if budget is None:
        return _NONE
    left, limit = _number(budget["left"]), _number(budget["limit"])
    return left if left == limit else f"{left} of {limit}"


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _time(minutes: float) -> str:
    if minutes < 1:
        return f"{minutes * 60:.0f} s"
    return f"{minutes:,.1f} min" if minutes < 120 else f"{minutes / 60:,.1f} h"
