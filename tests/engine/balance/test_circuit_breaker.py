"""When an endpoint is ill: after so many failures of its own in a row, for longer and longer."""

from typing import get_args

import pytest

from llmscale.core.records import FailureKind
from llmscale.engine.balance.circuit_breaker import CircuitBreaker

OF_THE_ENDPOINT = {"server_error", "overloaded", "timeout", "connection", "bad_response"}
OF_THE_REQUEST = sorted(set(get_args(FailureKind)) - OF_THE_ENDPOINT)


def failures(breaker: CircuitBreaker, count: int, at_s: float = 0.0) -> list[float | None]:
    """Let that many calls fail that begin and end at a time; return the cooldowns."""
    return [breaker.failed("server_error", at_s, at_s) for _ in range(count)]


@pytest.mark.parametrize("kind", sorted(OF_THE_ENDPOINT))
def test_eight_failures_in_a_row_are_an_illness(kind: FailureKind) -> None:
    breaker = CircuitBreaker()
    assert [breaker.failed(kind, 0, 0) for _ in range(8)] == [None] * 7 + [1.0]
    assert not breaker.is_closed


def test_failures_with_an_answer_between_them_are_no_illness() -> None:
    breaker = CircuitBreaker()
    for _ in range(10):
        assert failures(breaker, 7) == [None] * 7
        breaker.answered(0)
    assert breaker.is_closed


@pytest.mark.parametrize("kind", OF_THE_REQUEST)
def test_what_is_no_fault_of_the_endpoint_is_no_illness(kind: FailureKind) -> None:
    """A bad request, a rate limit, a quota: the endpoint does as it should."""
    breaker = CircuitBreaker()
    failures(breaker, 7)
    assert [breaker.failed(kind, 0, 0) for _ in range(100)] == [None] * 100
    assert breaker.is_closed
    assert failures(breaker, 1) == [1.0], "and it hides none"


def test_each_failed_probe_doubles_the_rest_up_to_thirty_seconds() -> None:
    breaker = CircuitBreaker()
    now_s = 0.0
    cooldowns = [failures(breaker, 8)[-1]]
    for _ in range(6):
        cooldown_s = cooldowns[-1]
        assert cooldown_s is not None
        now_s += cooldown_s
        cooldowns += failures(breaker, 1, now_s)
    assert cooldowns == [1, 2, 4, 8, 16, 30, 30]


def test_calls_that_began_before_the_rest_was_over_are_the_same_illness() -> None:
    breaker = CircuitBreaker()
    assert failures(breaker, 8, at_s=5)[-1] == 1
    assert [breaker.failed("timeout", began_s, 60) for began_s in (0, 4.9, 5, 5.99)] == [None] * 4
    assert breaker.failed("timeout", 6, 60) == 2


def test_an_answer_to_a_call_from_before_the_illness_is_no_recovery() -> None:
    breaker = CircuitBreaker()
    failures(breaker, 8, at_s=5)
    breaker.answered(4)
    assert not breaker.is_closed
    assert failures(breaker, 1, at_s=6) == [2.0]


def test_an_answer_closes_it_at_once() -> None:
    breaker = CircuitBreaker()
    failures(breaker, 8)
    failures(breaker, 1, at_s=1)
    assert not breaker.is_closed
    breaker.answered(3)
    assert (breaker.is_closed, breaker.has_answered) == (True, True)
    assert failures(breaker, 8, at_s=10)[:7] == [None] * 7


@pytest.mark.parametrize(("answers", "cooldown_s"), [(1, 4.0), (7, 4.0), (8, 1.0), (20, 1.0)])
def test_only_eight_answers_in_a_row_make_it_forget_how_often_it_rested(
    answers: int, cooldown_s: float
) -> None:
    """Flapping: one that falls ill again and again cooldowns longer and longer."""
    breaker = CircuitBreaker()
    failures(breaker, 8)
    failures(breaker, 1, at_s=1)
    for _ in range(answers):
        breaker.answered(3)
    assert failures(breaker, 8, at_s=10)[-1] == cooldown_s


def test_answers_with_a_failure_between_them_are_not_in_a_row() -> None:
    breaker = CircuitBreaker()
    failures(breaker, 8)
    for _ in range(5):
        for _ in range(7):
            breaker.answered(3)
        failures(breaker, 1, at_s=3)
    assert failures(breaker, 7, at_s=3)[-1] == 2.0


def half_failing(breaker: CircuitBreaker, calls: int, *, by_share: bool) -> list[float | None]:
    """Let every other call fail; return the cooldowns."""
    cooldowns = []
    for _ in range(calls // 2):
        breaker.answered(0)
        cooldowns.append(breaker.failed("timeout", 0, 0, by_share=by_share))
    return cooldowns


def test_beside_other_endpoints_half_of_the_last_twenty_calls_failing_trips_it() -> None:
    breaker = CircuitBreaker()
    assert half_failing(breaker, 20, by_share=True) == [None] * 9 + [1.0]
    assert (breaker.is_closed, breaker.trips) == (False, 1)


def test_each_trip_that_is_over_is_a_recovery() -> None:
    breaker = CircuitBreaker()
    for ended_s in (10.0, 20.0):
        failures(breaker, 8, at_s=ended_s - 5)
        assert not breaker.is_closed
        breaker.answered(ended_s)
        breaker.answered(ended_s)
    assert (breaker.trips, breaker.recoveries) == (2, 2)


def test_alone_half_of_the_calls_failing_does_not_trip_it() -> None:
    breaker = CircuitBreaker()
    assert half_failing(breaker, 200, by_share=False) == [None] * 100
    assert (breaker.is_closed, breaker.trips) == (True, 0)


def test_less_than_half_of_the_calls_failing_does_not_trip_it() -> None:
    breaker = CircuitBreaker()
    for number in range(400):
        if number % 5 in (1, 3):
            assert breaker.failed("timeout", 0, 0, by_share=True) is None
        else:
            breaker.answered(0)
    assert breaker.is_closed


def test_the_share_of_failures_starts_over_after_a_cooldown() -> None:
    breaker = CircuitBreaker()
    half_failing(breaker, 20, by_share=True)
    breaker.answered(2)
    assert breaker.failed("timeout", 2, 2, by_share=True) is None


def test_the_time_since_a_trip_counts_from_the_first_cooldown_over_all_probes() -> None:
    breaker = CircuitBreaker()
    assert breaker.tripped_for_s(5) == 0
    failures(breaker, 8, at_s=5)
    failures(breaker, 1, at_s=6)
    failures(breaker, 1, at_s=8)
    assert breaker.tripped_for_s(20) == 15
    breaker.answered(20)
    assert breaker.tripped_for_s(21) == 0


def test_an_endpoint_that_never_answered_says_so() -> None:
    breaker = CircuitBreaker()
    failures(breaker, 20)
    assert not breaker.has_answered
    breaker.answered(0)
    failures(breaker, 20, at_s=100)
    assert breaker.has_answered
