"""How many retries there may be: a fifth of the calls, ten at once, and one a second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.engine.balance.retry_budget import FLOOR, SHARE, RetryBudget


def at_once(budget: RetryBudget, now_s: float = 0.0) -> int:
    """Retry for as long as there is no wait; return how often."""
    count = 0
    while not budget.wait_s(now_s):
        budget.spend()
        count += 1
    return count


def test_ten_retries_need_no_calls_before_them() -> None:
    assert at_once(RetryBudget()) == FLOOR == 10


def test_each_call_earns_a_fifth_of_a_retry() -> None:
    budget = RetryBudget()
    at_once(budget)
    for _ in range(100):
        budget.earn()
    assert at_once(budget) == pytest.approx(100 * SHARE)


def test_what_is_lacking_comes_back_at_one_a_second_and_is_waited_for() -> None:
    budget = RetryBudget()
    at_once(budget)
    waits_s = []
    for _ in range(5):
        waits_s.append(budget.wait_s(0))
        budget.spend()
    assert waits_s == pytest.approx([1, 2, 3, 4, 5])
    assert budget.wait_s(4) == pytest.approx(2)
    assert at_once(budget, 15.5) == 10


def test_time_alone_fills_it_no_further_than_the_floor() -> None:
    budget = RetryBudget()
    assert budget.wait_s(0) == 0
    assert budget.wait_s(1e6) == 0
    assert at_once(budget, 1e6) == 10


def test_no_more_than_a_hundred_are_saved_up() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.earn()
    assert at_once(budget) == 100


def test_asking_costs_nothing() -> None:
    budget = RetryBudget()
    for _ in range(1_000):
        budget.wait_s(0)
    assert at_once(budget) == 10


@given(st.lists(st.floats(0, 5), max_size=200), st.integers(0, 200))
def test_retries_are_at_most_the_share_of_the_calls_and_the_floor_and_one_a_second(
    gaps_s: list[float], calls: int
) -> None:
    budget, now_s, retries = RetryBudget(), 0.0, 0
    for _ in range(calls):
        budget.earn()
    for gap_s in gaps_s:
        now_s += gap_s
        retries += at_once(budget, now_s)
    assert retries <= calls * SHARE + FLOOR + now_s + 1e-6
