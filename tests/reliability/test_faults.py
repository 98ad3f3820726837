"""Faults of providers (P01 to P14) and the figures of balance and limits.

What is quick runs always; the whole of it in the campaign.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.reliability import faults, virtual_faults
from tests.reliability.bad_answers import p11
from tests.reliability.calls import most_within
from tests.reliability.caps import DOUBTFUL, p14
from tests.reliability.figures import Figure, Shows
from tests.reliability.hostile import FLOODS, false_certificate, flood, redirects
from tests.reliability.outages import p01, p08
from tests.reliability.paces import p03
from tests.reliability.pauses import p04, p04_too_long
from tests.reliability.refusals import OF_THE_JOB, p06, p07
from tests.reliability.silences import SILENCES, p05

QUICK: list[Callable[[], Figure]] = [
    partial(virtual_faults.accuracy, 60, 10**9),
    partial(virtual_faults.accuracy, 500, 100_000),
    virtual_faults.p03,
    partial(virtual_faults.p03, width=200),
    partial(virtual_faults.p08, flapping=False),
    partial(virtual_faults.p08, flapping=True),
    virtual_faults.p09,
    virtual_faults.p10,
    partial(virtual_faults.makespan, 2_000),
    partial(p01, 400),
    partial(p03, 0.5, 1.0),
    p04,
    p04_too_long,
    *(partial(p05, kind, rows=19, timeout_s=0.3) for kind in SILENCES),
    *(partial(p06, kind, rows=300, width=16) for kind in list(OF_THE_JOB)[::3]),
    partial(p07, 500),
    partial(p08, 400, out_s=1.2),
    partial(p11, 330, attempts=1),
    partial(redirects, 50),
    *(partial(flood, kind, 3) for kind in FLOODS),
    partial(false_certificate, 10),
    partial(p14, 1, 200),
    partial(p14, 1, 200, faults=DOUBTFUL),
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
    shows(virtual_faults.p02())


@pytest.mark.campaign
@pytest.mark.parametrize("case", campaign())
def test_every_case_meets_its_goal(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())


def test_the_densest_moment_is_the_one_that_is_found() -> None:
    assert most_within([0, 1, 1.04, 1.05, 1.06, 3], 0.05) == 3
