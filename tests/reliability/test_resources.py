"""R01 to R03: few open files, many rows, and many rows behind a slow one."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.reliability.figures import Figure, Shows
from tests.reliability.ledger import Entry
from tests.reliability.resources import CASES, most_at_once, r01, r02, r03
from tests.reliability.test_faults import named

QUICK: list[Callable[[], Figure]] = [
    partial(r01, 300),
    partial(r01, 300, hard=False),
    partial(r02, 1_000, 10_000),
    partial(r03, 1_000, 5_000, 3.0),
]


@pytest.mark.parametrize("case", QUICK, ids=named)
def test_a_run_keeps_within_its_means(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())


@pytest.mark.campaign
@pytest.mark.parametrize("case", [c for cases in CASES.values() for c in cases], ids=named)
def test_long_runs_keep_within_their_means(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())


def test_the_most_at_once_is_the_one_that_is_found() -> None:
    arrived, ended = (Entry(event, 1, "key", 1, 0.0) for event in ("arrived", "ended"))
    assert most_at_once([arrived, arrived, ended, arrived, ended]) == 2
