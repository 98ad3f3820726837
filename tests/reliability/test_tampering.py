"""C06 and C07: what was changed is refused or made good, and a job is run by one process."""

from collections.abc import Callable

import pytest

from tests.reliability.figures import Figure, Shows
from tests.reliability.tampering import CASES, QUICK, c06, c07


def test_what_was_changed_is_refused_by_name_or_made_good(shows: Shows) -> None:
    shows(c06("finished", QUICK))


def test_one_of_two_processes_runs_a_job(shows: Shows) -> None:
    shows(c07(races=1, rows=16))


@pytest.mark.campaign
@pytest.mark.parametrize(
    "case", [c for cases in CASES.values() for c in cases], ids=["finished", "killed", "C07"]
)
def test_every_change_and_many_races(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())
