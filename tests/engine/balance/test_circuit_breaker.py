"""When an endpoint is ill: after so many failures of its own in a row, for longer and longer."""

from typing import get_args

import pytest

from llmscale.core.records import FailureKind
from llmscale.engine.balance.circuit_breaker import CircuitBreaker

OF_THE_ENDPOINT = {"server_error", "overloaded", "timeout", "connection", "bad_response"}
OF_THE_REQUEST = sorted(set(get_args(FailureKind)) - OF_THE_ENDPOINT)


def failures(health: CircuitBreaker, count: int, at_s: float = 0.0) -> list[float | None]:
    """Let that many calls fail that begin and end at a time; return the rests."""
    return [health.failed("server_error", at_s, at_s) for _ in range(count)]


@pytest.mark.parametrize("kind", sorted(OF_THE_ENDPOINT))
def test_eight_failures_in_a_row_are_an_illness(kind: FailureKind) -> None:
    health = CircuitBreaker()
    assert [health.failed(kind, 0, 0) for _ in range(8)] == [None] * 7 + [1.0]
    assert health.is_probed


def test_failures_with_an_answer_between_them_are_no_illness() -> None:
    health = CircuitBreaker()
    for _ in range(10):
        assert failures(health, 7) == [None] * 7
        health.answered(0)
    assert not health.is_probed


@pytest.mark.parametrize("kind", OF_THE_REQUEST)
def test_what_is_no_fault_of_the_endpoint_is_no_illness(kind: FailureKind) -> None:
    """A bad request, a rate limit, a quota: the endpoint does as it should."""
    health = CircuitBreaker()
    failures(health, 7)
    assert [health.failed(kind, 0, 0) for _ in range(100)] == [None] * 100
    assert not health.is_probed
    assert failures(health, 1) == [1.0], "and it hides none"


def test_each_failed_probe_doubles_the_rest_up_to_thirty_seconds() -> None:
    health = CircuitBreaker()
    now_s = 0.0
    rests = [failures(health, 8)[-1]]
    for _ in range(6):
        cooldown_s = rests[-1]
        assert cooldown_s is not None
        now_s += cooldown_s
        rests += failures(health, 1, now_s)
    assert rests == [1, 2, 4, 8, 16, 30, 30]


def test_calls_that_began_before_the_rest_was_over_are_the_same_illness() -> None:
    health = CircuitBreaker()
    assert failures(health, 8, at_s=5)[-1] == 1
    assert [health.failed("timeout", began_s, 60) for began_s in (0, 4.9, 5, 5.99)] == [None] * 4
    assert health.failed("timeout", 6, 60) == 2


def test_an_answer_to_a_call_from_before_the_illness_is_no_recovery() -> None:
    health = CircuitBreaker()
    failures(health, 8, at_s=5)
    health.answered(4)
    assert health.is_probed
    assert failures(health, 1, at_s=6) == [2.0]


def test_an_answer_makes_it_well_at_once() -> None:
    health = CircuitBreaker()
    failures(health, 8)
    failures(health, 1, at_s=1)
    assert health.is_probed
    health.answered(3)
    assert (health.is_probed, health.has_answered) == (False, True)
    assert failures(health, 8, at_s=10)[:7] == [None] * 7


@pytest.mark.parametrize(("answers", "cooldown_s"), [(1, 4.0), (7, 4.0), (8, 1.0), (20, 1.0)])
def test_only_eight_answers_in_a_row_make_it_forget_how_often_it_rested(
    answers: int, cooldown_s: float
) -> None:
    """Flapping: one that falls ill again and again rests longer and longer."""
    health = CircuitBreaker()
    failures(health, 8)
    failures(health, 1, at_s=1)
    for _ in range(answers):
        health.answered(3)
    assert failures(health, 8, at_s=10)[-1] == cooldown_s


def test_answers_with_a_failure_between_them_are_not_in_a_row() -> None:
    health = CircuitBreaker()
    failures(health, 8)
    for _ in range(5):
        for _ in range(7):
            health.answered(3)
        failures(health, 1, at_s=3)
    assert failures(health, 7, at_s=3)[-1] == 2.0


def half_failing(health: CircuitBreaker, calls: int, *, by_rate: bool) -> list[float | None]:
    """Let every other call fail; return the rests."""
    rests = []
    for _ in range(calls // 2):
        health.answered(0)
        rests.append(health.failed("timeout", 0, 0, by_rate=by_rate))
    return rests


def test_beside_others_half_of_the_last_twenty_calls_failing_is_an_illness() -> None:
    health = CircuitBreaker()
    assert half_failing(health, 20, by_rate=True) == [None] * 9 + [1.0]
    assert (health.is_probed, health.ejections) == (True, 1)


def test_each_illness_that_is_over_is_a_recovery() -> None:
    health = CircuitBreaker()
    for ended_s in (10.0, 20.0):
        failures(health, 8, at_s=ended_s - 5)
        assert health.is_probed
        health.answered(ended_s)
        health.answered(ended_s)
    assert (health.ejections, health.recoveries) == (2, 2)


def test_alone_half_of_the_calls_failing_is_none() -> None:
    health = CircuitBreaker()
    assert half_failing(health, 200, by_rate=False) == [None] * 100
    assert (health.is_probed, health.ejections) == (False, 0)


def test_less_than_half_of_the_calls_failing_is_none() -> None:
    health = CircuitBreaker()
    for number in range(400):
        if number % 5 in (1, 3):
            assert health.failed("timeout", 0, 0, by_rate=True) is None
        else:
            health.answered(0)
    assert not health.is_probed


def test_the_share_of_failures_is_counted_anew_after_a_rest() -> None:
    health = CircuitBreaker()
    half_failing(health, 20, by_rate=True)
    health.answered(2)
    assert health.failed("timeout", 2, 2, by_rate=True) is None


def test_how_long_it_is_ill_counts_from_the_first_rest_over_all_probes() -> None:
    health = CircuitBreaker()
    assert health.open_for_s(5) == 0
    failures(health, 8, at_s=5)
    failures(health, 1, at_s=6)
    failures(health, 1, at_s=8)
    assert health.open_for_s(20) == 15
    health.answered(20)
    assert health.open_for_s(21) == 0


def test_an_endpoint_that_never_answered_says_so() -> None:
    health = CircuitBreaker()
    failures(health, 20)
    assert not health.has_answered
    health.answered(0)
    failures(health, 20, at_s=100)
    assert health.has_answered
