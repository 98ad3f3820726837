"""Faults of providers (P01 to P03, P05, P08 to P10) and the figures of balance and limits.

What is quick runs always; the whole of it, with the tool itself, in the campaign.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.reliability import faults
from tests.reliability.faults import most_within
from tests.reliability.figures import Figure, Shows

QUICK: list[Callable[[], Figure]] = [
    partial(faults.accuracy, 60, 10**9),
    partial(faults.accuracy, 500, 100_000),
    faults.p03,
    partial(faults.p03, width=200),
    partial(faults.p08_virtual, flapping=False),
    partial(faults.p08_virtual, flapping=True),
    faults.p09_virtual,
    faults.p10,
    partial(faults.makespan, 2_000),
    partial(faults.p01, 400),
    partial(faults.p05, "headers, then silence", rows=20, timeout_s=0.3),
]

UNMET = {
    ("limits", 2): "guesses before the first answer are given back late: 2 of 1,476 refused",
    ("limits", 3): "calls of 4 % of the limit: what one takes is left free for a minute",
}

OF_THE_MACHINE = {
    ("wide", 0): "two cores for client and server, and a second until all may be in flight",
}


def named(case: Callable[[], Figure]) -> str:
    """Return a name for the list of tests."""
    if not isinstance(case, partial):
        return case.__name__
    parts = [case.func.__name__, *map(str, case.args), *map(str, case.keywords.values())]
    return " ".join(parts)


def campaign() -> list[Any]:
    """Return every case, those that are known not to be met as such."""
    marked = []
    for name, cases in faults.CASES.items():
        for number, case in enumerate(cases):
            where = (name, number)
            reason = UNMET.get(where) or OF_THE_MACHINE.get(where)
            xfail = [pytest.mark.xfail(reason=reason, strict=where in UNMET)] if reason else []
            marked.append(pytest.param(case, id=f"{name} {named(case)}", marks=xfail))
    return marked


@pytest.mark.parametrize("case", QUICK, ids=named)
def test_a_fault_costs_no_more_than_its_goal(case: Callable[[], Figure], shows: Shows) -> None:
    figure = case()
    shows(figure)
    assert figure.bad == 0


def test_a_limit_four_times_too_high_is_learned_from_the_refusals(shows: Shows) -> None:
    """P02: what is refused in the warm-up is no fault."""
    shows(faults.p02())


@pytest.mark.campaign
@pytest.mark.parametrize("case", campaign())
def test_every_case_meets_its_goal(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())


def test_the_densest_moment_is_the_one_that_is_found() -> None:
    assert most_within([0, 1, 1.04, 1.05, 1.06, 3], 0.05) == 3
