"""S02: a damaged cache costs calls, never a wrong row or the run; and many processes share one."""

import pytest

from tests.reliability.damaged_cache import FILES, VALUES, Case, s02
from tests.reliability.figures import Shows
from tests.reliability.shared_cache import shared

QUICK = [VALUES[0], FILES[0]]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.what)
def test_what_is_damaged_is_a_miss(case: Case, shows: Shows) -> None:
    shows(s02(case, rows=100))


def test_processes_that_share_a_cache_lose_nothing(shows: Shows) -> None:
    shows(shared(processes=3, operations=300))


@pytest.mark.campaign
@pytest.mark.parametrize("case", [*VALUES, *FILES], ids=lambda case: case.what)
def test_every_damage_is_a_miss(case: Case, shows: Shows) -> None:
    shows(s02(case))


@pytest.mark.campaign
def test_eight_processes_that_share_a_cache_lose_nothing(shows: Shows) -> None:
    shows(shared())
