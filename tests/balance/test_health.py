"""When an endpoint is ill: after so many failures of its own in a row, for longer and longer."""

from typing import get_args

import pytest

from llmscale.balance.health import Health
from llmscale.records import FailureKind

OF_THE_ENDPOINT = {"server_error", "overloaded", "timeout", "connection", "bad_response"}
OF_THE_REQUEST = sorted(set(get_args(FailureKind)) - OF_THE_ENDPOINT)


def failures(health: Health, count: int, at_s: float = 0.0) -> list[float | None]:
    """Let that many calls fail that begin and end at a time; return the rests."""
    return [health.failed("server_error", at_s, at_s) for _ in range(count)]


@pytest.mark.parametrize("kind", sorted(OF_THE_ENDPOINT))
def test_eight_failures_in_a_row_are_an_illness(kind: FailureKind) -> None:
    health = Health()
    assert [health.failed(kind, 0, 0) for _ in range(8)] == [None] * 7 + [1.0]
    assert health.is_probed


def test_failures_with_an_answer_between_them_are_no_illness() -> None:
    health = Health()
    for _ in range(10):
        assert failures(health, 7) == [None] * 7
        health.answered(0)
    assert not health.is_probed


@pytest.mark.parametrize("kind", OF_THE_REQUEST)
def test_what_is_no_fault_of_the_endpoint_is_no_illness(kind: FailureKind) -> None:
    """A bad request, a rate limit, a quota: the endpoint does as it should."""
    health = Health()
    failures(health, 7)
    assert [health.failed(kind, 0, 0) for _ in range(100)] == [None] * 100
    assert not health.is_probed
    assert failures(health, 1) == [1.0], "and it hides none"


def test_each_failed_probe_doubles_the_rest_up_to_thirty_seconds() -> None:
    health = Health()
    now_s = 0.0
    rests = [failures(health, 8)[-1]]
    for _ in range(6):
        rest_s = rests[-1]
        assert rest_s is not None
        now_s += rest_s
        rests += failures(health, 1, now_s)
    assert rests == [1, 2, 4, 8, 16, 30, 30]


def test_calls_that_began_before_the_rest_was_over_are_the_same_illness() -> None:
    health = Health()
    assert failures(health, 8, at_s=5)[-1] == 1
    assert [health.failed("timeout", began_s, 60) for began_s in (0, 4.9, 5, 5.99)] == [None] * 4
    assert health.failed("timeout", 6, 60) == 2


def test_an_answer_to_a_call_from_before_the_illness_is_no_recovery() -> None:
    health = Health()
    failures(health, 8, at_s=5)
    health.answered(4)
    assert health.is_probed
    assert failures(health, 1, at_s=6) == [2.0]


def test_an_answer_makes_it_well_at_once() -> None:
    health = Health()
    failures(health, 8)
    failures(health, 1, at_s=1)
    assert health.is_probed
    health.answered(3)
    assert (health.is_probed, health.has_answered) == (False, True)
    assert failures(health, 8, at_s=10) == [None] * 7 + [1.0], "and the rests begin anew"


def test_an_endpoint_that_never_answered_says_so() -> None:
    health = Health()
    failures(health, 20)
    assert not health.has_answered
    health.answered(0)
    failures(health, 20, at_s=100)
    assert health.has_answered
