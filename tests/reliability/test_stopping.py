"""C04: what is stopped sends nothing more, and what it has is kept.

Here a busy machine gets a second for it; in the campaign it is the 100 ms of the plan.
"""

import signal
from collections.abc import Callable
from functools import partial

import pytest

from tests.reliability.figures import Figure, Shows
from tests.reliability.stopping import CASES, closed_pipe, signalled, signalled_twice
from tests.reliability.test_faults import named

QUICK: list[Callable[[], Figure]] = [
    partial(signalled, signal.SIGINT, 1, 100, 1.0),
    partial(signalled, signal.SIGTERM, 1, 100, 1.0),
    partial(signalled_twice, 1, 50, 1.0),
    partial(closed_pipe, 1, 100, 20, 1.0),
]


@pytest.mark.parametrize("case", QUICK, ids=named)
def test_a_stop_stops(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())


@pytest.mark.campaign
@pytest.mark.parametrize("case", [c for cases in CASES.values() for c in cases], ids=named)
def test_every_stop_stops(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())
