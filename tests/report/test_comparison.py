"""Two reports side by side: ratios, and which way is better."""

from typing import Any

import pytest

from llmscale.accounting.stats import Stats
from llmscale.report import comparison
from llmscale.report.comparison import Compared, ComparedFigure, without_words
from tests.report import add_row, built, typed


def run(rows: int, wall_s: float, cost_usd: float | None = 0.5) -> Any:
    stats = Stats()
    for _ in range(rows):
        add_row(stats, "sim/a", cost_usd=cost_usd)
    return built(stats, rows, wall_s)


def compare(before: Any, after: Any) -> list[Compared]:
    return comparison.compare(typed(before), typed(after))


def figure(name: str, before: dict[str, Any], after: dict[str, Any]) -> Compared:
    (found,) = (c for c in compare(before, after) if c.name == name)
    return found


def test_more_rows_a_second_are_better_and_dearer_rows_are_worse() -> None:
    before, after = run(10, 10.0), run(10, 5.0, cost_usd=1.0)
    speed = figure("rows/s", before, after)
    assert (speed.before, speed.after, speed.ratio, speed.is_better) == (1.0, 2.0, 2.0, True)
    cost = figure("cost of 1,000 rows", before, after)
    assert (cost.before, cost.after, cost.is_better) == (500.0, 1000.0, False)


def test_a_small_difference_is_none() -> None:
    assert figure("rows/s", run(100, 10.0), run(100, 10.1)).is_better is None


def test_a_longer_run_of_more_rows_is_neither_better_nor_worse() -> None:
    assert figure("time", run(1, 1.0), run(9, 9.0)).is_better is None


def test_what_is_not_known_of_one_run_is_not_compared() -> None:
    found = figure("cost of 1,000 rows", run(1, 1.0, cost_usd=None), run(1, 1.0))
    assert (found.before, found.ratio, found.is_better) == (None, None, None)
    assert found.said == ("unknown", "$500.0000")
    assert figure("cache hit rate", run(1, 1.0), run(1, 1.0)).said == ("-", "-")


def test_a_first_failure_is_worse_though_it_has_no_ratio() -> None:
    after = run(10, 10.0)
    after["rows"]["failed"] = 1
    found = figure("failed", run(10, 10.0), after)
    assert (found.ratio, found.is_better) == (None, False)


def test_programs_get_the_numbers_without_the_words() -> None:
    (first, *_) = without_words(compare(run(2, 1.0), run(4, 1.0)))
    assert first == ComparedFigure("rows", 2, 4, 2.0, None)


def test_a_run_without_a_row_can_be_compared() -> None:
    assert len(compare(built(Stats(), 0), run(1, 1.0))) == len(compare(run(1, 1.0), run(1, 1.0)))


@pytest.mark.parametrize("wall_s", [0.0, 1.0])
def test_a_run_without_time_has_no_rate_to_compare(wall_s: float) -> None:
    found = figure("rows/s", built(Stats(), 0, wall_s=0.0), run(1, wall_s))
    assert found.ratio is None
