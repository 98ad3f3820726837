"""Shares of users beside a greedy one, and memory with many of them (K03).

What is quick runs always; the whole of it in the campaign.
"""

from collections.abc import Callable
from functools import partial

import pytest

from llmscale.config import UserLimit
from tests.reliability import users
from tests.reliability.figures import Figure, Shows
from tests.reliability.test_faults import named
from tests.reliability.users import CASES, memory, share_of_the_width, share_under_limits

QUICK: list[Callable[[], Figure]] = [
    partial(share_under_limits, 10_000),
    partial(share_of_the_width, 10_000),
    partial(users.share_in_the_tool, 2_000),
    partial(memory, 20_000, UserLimit(rpm=60), 30),
]


@pytest.mark.parametrize("case", QUICK, ids=named)
def test_each_user_gets_its_share_and_costs_no_memory(
    case: Callable[[], Figure], shows: Shows
) -> None:
    shows(case())


@pytest.mark.campaign
@pytest.mark.parametrize("case", [c for cases in CASES.values() for c in cases], ids=named)
def test_every_case_of_users_meets_its_goal(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())
