"""C01: SIGKILL at random moments. A few kills by default, 200 in the campaign."""

import pytest

from tests.reliability.figures import Shows
from tests.reliability.kills import c01


def test_five_kills_lose_duplicate_and_change_nothing(shows: Shows) -> None:
    shows(c01(kills=5, rows=400))


@pytest.mark.campaign
def test_two_hundred_kills_lose_duplicate_and_change_nothing(shows: Shows) -> None:
    shows(c01())


@pytest.mark.campaign
def test_nor_do_kills_without_a_cache(shows: Shows) -> None:
    shows(c01(kills=25, rows=600, cache="off", seed=2))


@pytest.mark.campaign
def test_nor_do_kills_while_a_large_output_is_copied_from_the_journal(shows: Shows) -> None:
    shows(c01(kills=25, rows=1_000, cache="off", seed=3, line_bytes=50_000))
