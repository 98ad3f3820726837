"""The limits of a job: which apply, how long they make it take, and which one binds."""

import math
from pathlib import Path
from typing import Any

import pytest

from llmscale.commands.limit_bounds import Binding, LimitName
from llmscale.commands.limits import MAX_USERS, BudgetState, EndpointBudgets, LimitsResult, limits
from llmscale.config import EndpointConfig, UserLimit
from llmscale.core.errors import ConfigError
from tests.cli.tool import write_rows
from tests.settings import config_of

MODEL = "sim/a"
TOKENS = 17  # of a row, as estimated: 28 bytes, and 10 of the answer


def found(folder: Path, rows: list[Any], **settings: Any) -> LimitsResult:
    """Return the limits of a job with those rows."""
    path = write_rows(folder / "in.jsonl", rows)
    return limits(config_of(inputs=(str(path),), **{"model": MODEL, **settings}))


def row(user: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"prompt": "What is it?", "max_tokens": 10, **fields} | ({"user": user} if user else {})


def endpoint(**settings: Any) -> tuple[EndpointConfig, ...]:
    return (EndpointConfig(model=MODEL, **settings),)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 43_200.0)


def test_without_limits_nothing_binds(tmp_path: Path) -> None:
    seen = found(tmp_path, [row(), row("a")])
    assert (seen.rows, seen.rows_without_user, seen.binds) == (2, 1, None)
    assert seen.minutes == 0
    assert seen.tokens == 2 * TOKENS
    assert seen.endpoints == [EndpointBudgets(MODEL, 64, None, None, None, None, None)]


def test_every_limit_is_unused_and_a_day_ends_at_midnight(tmp_path: Path) -> None:
    pool = endpoint(rpm="10/s", tpm=9_000, rpd=1_000, tpd=5_000, capacity=7)
    (only,) = found(tmp_path, [row()], endpoint=pool).endpoints
    assert (only.capacity, only.burst) == (7, 6)
    assert only.rpm == BudgetState(600, 600, 0)
    assert only.tpm == BudgetState(9_000, 9_000, 0)
    assert only.rpd == BudgetState(1_000, 1_000, 43_200)
    assert only.tpd == BudgetState(5_000, 5_000, 43_200)


@pytest.mark.parametrize(
    ("limit", "budget", "minutes"),
    [
        ({"rpm": 10}, "rpm", 9.9),
        ({"rpm": 10, "burst": 5}, "rpm", 9.5),
        ({"tpm": 10 * TOKENS}, "tpm", 9.99),
        ({"rpm": 50, "tpm": 10 * TOKENS}, "tpm", 9.99),
        ({"rpd": 40}, "rpd", 12 * 60 + 24 * 60),
        ({"tpd": 50 * TOKENS}, "tpd", 12 * 60),
        ({"rpd": 100}, None, 0),
    ],
)
def test_the_limit_that_takes_longest_binds(
    tmp_path: Path, limit: dict[str, Any], budget: LimitName | None, minutes: float
) -> None:
    seen = found(tmp_path, [row()] * 100, endpoint=endpoint(**limit))
    binding = None if budget is None else Binding("endpoint", MODEL, budget)
    assert seen.binds == binding
    assert seen.minutes == pytest.approx(minutes)


def test_limits_of_endpoints_add_and_one_without_a_limit_takes_all(tmp_path: Path) -> None:
    first, second = (EndpointConfig(model=MODEL, rpm=10, capacity=n) for n in (1, 2))
    both = found(tmp_path, [row()] * 100, endpoint=(first, second))
    assert both.minutes == pytest.approx(4.9)
    free = EndpointConfig(model=MODEL, capacity=3)
    assert found(tmp_path, [row()] * 100, endpoint=(first, free)).binds is None


def test_each_user_has_rows_tokens_limits_and_minutes(tmp_path: Path) -> None:
    rows = [*[row("a")] * 30, *[row("b")] * 61, row()]
    seen = found(
        tmp_path, rows, limits_user=UserLimit(rpm=10), limits_users={"b": UserLimit(rpm=60)}
    )
    assert [(u.user, u.rows, u.minutes) for u in seen.users] == [
        ("a", 30, 2.9),
        ("b", 61, 1.0),
    ]
    assert seen.users[0].tokens == 30 * TOKENS
    assert seen.users[0].rpm == BudgetState(10, 10, 0)
    assert seen.users[0].tpm is None
    assert seen.binds == Binding("user", "a", "rpm")


def test_the_slowest_users_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    rows = [row(f"u{number}") for number in range(120) for _ in range(1 + number // 100)]
    seen = found(tmp_path, rows, limits_user=UserLimit(rpm=1))
    assert len(seen.users) == MAX_USERS
    assert seen.more_users == 70
    assert {u.user for u in seen.users[:20]} == {f"u{number}" for number in range(100, 120)}


def test_bad_rows_and_rows_above_the_limit_of_their_user_are_counted(tmp_path: Path) -> None:
    rows = [row("a"), row("a", prompt="x" * 4_000), {"nothing": 1}, row(prompt="x" * 4_000)]
    seen = found(tmp_path, rows, limits_user=UserLimit(tpm=100))
    assert (seen.rows, seen.bad_rows, seen.too_large) == (3, 1, 1)


def test_no_key_is_needed(tmp_path: Path) -> None:
    seen = found(tmp_path, [row()], model="openai/gpt-4.1-mini", rpm=500)
    assert seen.endpoints[0].rpm == BudgetState(500, 500, 0)


def test_an_empty_input_has_limits(tmp_path: Path) -> None:
    seen = found(tmp_path, [], endpoint=endpoint(rpm=1), limits_user=UserLimit(rpm=1))
    assert (seen.rows, seen.minutes, seen.users, seen.binds) == (0, 0, [], None)
    assert math.isfinite(seen.minutes)


def test_an_unknown_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        found(tmp_path, [row()], model="nobody/a")
