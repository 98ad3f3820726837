"""`llmscale limits` on a terminal: the limits of endpoints and users, and what limits the job."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmscale.commands.limits import BudgetState, EndpointBudgets, LimitsResult, UserBudgets
from llmscale.core.printable import printable
from llmscale.report.figures import hours

_NONE = "-"


def print_limits(found: LimitsResult) -> None:
    """Print the limits of a job on standard output."""
    console = Console()
    console.print(_heading(found), soft_wrap=True)
    console.print(_endpoints(found.endpoints))
    if found.users:
        console.print(_users(found.users))
    if found.more_users:
        console.print(Text(f"and {found.more_users:,} more users, none of them slower"))
    console.print(Text(printable(_binding(found))), soft_wrap=True)


def _heading(found: LimitsResult) -> Text:
    facts = [f"{found.rows:,} rows, about {found.tokens:,} tokens"]
    for count, label in (
        (found.bad_rows, "invalid"),
        (found.too_large, "will fail: more tokens than their user has in a minute"),
        (found.rows_without_user, "without a user: no user limits apply"),
    ):
        if count:
            facts.append(f"{count:,} {label}")
    return Text("; ".join(facts), style="bold")


def _endpoints(endpoints: Iterable[EndpointBudgets]) -> Table:
    table = _table("endpoint", "in flight", "rpm", "burst", "tpm", "rpd", "tpd", "day ends in")
    for endpoint in endpoints:
        day = endpoint.rpd or endpoint.tpd
        _add(
            table,
            endpoint.name,
            f"{endpoint.capacity:,}",
            _left(endpoint.rpm),
            _number(endpoint.burst),
            _left(endpoint.tpm),
            _left(endpoint.rpd),
            _left(endpoint.tpd),
            hours(day.resets_in_s / 3600) if day else _NONE,
        )
    return table


def _users(users: Iterable[UserBudgets]) -> Table:
    table = _table("user", "rows", "tokens", "rpm", "burst", "tpm", "at least")
    for user in users:
        _add(
            table,
            user.user,
            f"{user.rows:,}",
            f"{user.tokens:,}",
            _left(user.rpm),
            _number(user.burst),
            _left(user.tpm),
            hours(user.minutes / 60),
        )
    return table


def _binding(found: LimitsResult) -> str:
    if found.binds is None:
        return "no limit makes the job wait: it takes as long as its calls"
    return f"limited by {found.binds}: the job takes at least {hours(found.minutes / 60)}"


def _table(*columns: str) -> Table:
    table = Table(box=None)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


def _left(budget: BudgetState | None) -> str:
    """Return what is left, and of how much where some is used."""
    if budget is None:
        return _NONE
    left, limit = _number(budget.left), _number(budget.limit)
    return left if left == limit else f"{left} of {limit}"


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
