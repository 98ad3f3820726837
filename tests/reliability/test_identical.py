"""K01: rows that ask the same share a call, and go on without one that fails."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.reliability.figures import Figure, Shows
from tests.reliability.identical import CASES, cancelled, leader
from tests.reliability.test_faults import named

QUICK: list[Callable[[], Figure]] = [
    partial(leader, "fails", 1),
    partial(leader, "times out", 1),
    partial(cancelled, 1),
]


@pytest.mark.parametrize("case", QUICK, ids=named)
def test_identical_rows_make_one_call(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())


@pytest.mark.campaign
@pytest.mark.parametrize("case", [c for cases in CASES.values() for c in cases], ids=named)
def test_identical_rows_make_one_call_each_time(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())
