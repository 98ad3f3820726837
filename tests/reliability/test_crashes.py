"""C02 and C03: kills at certain points, and in one resume after the other."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.reliability.crashes import CASES, c02, c03, finished_in, stored_in
from tests.reliability.failpoints import POINTS, Countdown
from tests.reliability.figures import Figure, Shows
from tests.reliability.ledger import key_of_row
from tests.reliability.test_faults import named

QUICK: list[Callable[[], Figure]] = [
    *(partial(c02, point, 1) for point in POINTS),
    partial(c03, jobs=1, depth=5, rows=80),
]


@pytest.mark.parametrize("case", QUICK, ids=named)
def test_a_kill_costs_no_more_than_what_is_in_flight(
    case: Callable[[], Figure], shows: Shows
) -> None:
    shows(case())


@pytest.mark.campaign
@pytest.mark.parametrize("case", [c for cases in CASES.values() for c in cases], ids=named)
def test_many_kills_cost_no_more_than_what_is_in_flight(
    case: Callable[[], Figure], shows: Shows
) -> None:
    shows(case())


def test_a_countdown_is_over_once() -> None:
    count = Countdown(2)
    assert [count.is_over() for _ in range(4)] == [False, True, False, False]


def test_half_a_line_and_a_failure_are_not_finished(tmp_path: Path) -> None:
    partial_output = tmp_path / "partial"
    partial_output.write_bytes(
        b'{"index":3,"output":"x"}\n{"index":4,"output":null}\n{"index":5,"output":"x"}'
    )
    assert finished_in(partial_output) == {key_of_row(3)}
    assert finished_in(tmp_path / "nothing") == set()
    assert stored_in(tmp_path) == set()
