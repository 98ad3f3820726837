"""The table of the cases: its bounds and its order."""

import pytest

from tests.docs import pages
from tests.reliability.figures import Figure, shown, table, upper_bound


class Report:
    def __init__(self, *figures: Figure) -> None:
        self.user_properties = [("other", 1), *(("figure", vars_of(f)) for f in figures)]


def vars_of(figure: Figure) -> dict[str, object]:
    return {name: getattr(figure, name) for name in Figure.__slots__}


def figure(case: str, n: int = 100, bad: int = 0, *, met: bool = True) -> Figure:
    return Figure(case, "what", n, bad, "value", "goal", met)


@pytest.mark.parametrize(
    ("n", "bad", "bound"), [(100, 0, 0.0295), (2000, 0, 0.0015), (100, 5, 0.1022)]
)
def test_the_bound_is_that_of_clopper_and_pearson(n: int, bad: int, bound: float) -> None:
    assert upper_bound(n, bad) == pytest.approx(bound, abs=1e-4)


def test_where_all_are_bad_nothing_is_bounded() -> None:
    assert upper_bound(3, 3) == 1.0


def test_figures_of_all_outcomes_are_shown_in_the_order_of_their_cases() -> None:
    reports = {"passed": [Report(figure("P02")), Report()], "failed": [Report(figure("C01"))]}
    assert [f.case for f in shown(reports)] == ["C01", "P02"]


def test_a_goal_that_is_missed_stands_out() -> None:
    head, met, missed = table([figure("C01"), figure("C02", met=False)])
    assert head.startswith("case")
    assert met.endswith("yes")
    assert missed.endswith("NO")


def test_the_bounds_in_the_manual_are_those_of_its_numbers() -> None:
    lines = pages.table(pages.texts()["reliability"])
    assert len(lines) >= 15
    for case, _, tried, bad, bound in lines:
        n = int(tried.split()[0].replace(",", ""))
        assert bound == f"{upper_bound(n, int(bad)) * 100:.2g} %", case
