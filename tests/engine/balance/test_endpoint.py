"""What is known of one endpoint, in one place: load, room, rests, paces, limits, latency."""

import math
from typing import Any

import pytest

from llmscale.accounting.prices import Prices
from llmscale.accounting.stats import Cause
from llmscale.core.records import Failure, FailureKind, Quota
from llmscale.engine.balance.adaptive_window import AdaptiveWindow
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.limits import RateLimits
from tests.engine.balance import Unasked

pytestmark = pytest.mark.looptime


def endpoint(
    capacity: int = 10,
    *,
    limits: RateLimits | None = None,
    weight: float = 1.0,
    window: AdaptiveWindow | None = None,
    quota: Quota | None = None,
    **more: Any,
) -> Endpoint:
    slots = Slots(capacity, window, **more)
    return Endpoint("a", Unasked(quota), slots, Prices(is_listed=False), limits, weight)


def failed(
    kind: FailureKind = "server_error",
    *,
    retryable: bool = True,
    retry_after_s: float | None = None,
) -> Failure:
    return Failure(kind=kind, message="", retryable=retryable, retry_after_s=retry_after_s)


async def test_a_call_is_counted_from_its_start_to_its_end() -> None:
    one = endpoint(2)
    one.start(0, 0)
    one.start(0, 0)
    assert (one.in_flight, one.utilisation, one.has_slot()) == (2, 1.0, False)
    one.end()
    assert (one.in_flight, one.utilisation, one.has_slot()) == (1, 0.5, True)


async def test_utilisation_is_of_the_room_and_for_the_weight() -> None:
    one = endpoint(10, weight=2)
    one.in_flight = 5
    assert one.utilisation == 0.25


async def test_the_room_is_that_of_the_window_and_at_most_the_capacity() -> None:
    window = AdaptiveWindow(10)
    one = endpoint(10, window=window)
    assert one.max_in_flight == 10
    window.busy(0, 1)
    assert one.max_in_flight == 7
    one.in_flight = 6
    assert one.has_slot()
    one.in_flight = 7
    assert not one.has_slot()


async def test_part_of_a_place_is_none() -> None:
    window = AdaptiveWindow(3)
    one = endpoint(3, window=window)
    window.busy(0, 1)
    assert one.max_in_flight == pytest.approx(2.1)
    one.in_flight = 2
    assert not one.has_slot()


async def test_it_opens_when_rest_limit_and_learned_pace_all_allow() -> None:
    one = endpoint(100, limits=RateLimits(60, None))  # whose clock stands at 0
    assert one.opens_in_s(0, 0) == 0
    one.start(0, 0)
    assert one.opens_in_s(0, 0) == pytest.approx(1, abs=1e-3)
    one.cooldown_until_s = 5
    assert one.opens_in_s(0, 0) == 5
    for second in range(0, 60, 5):
        one.rate.start(second)
    one.rate.refused(55, 60)
    assert one.opens_in_s(60, 0) == one.rate.wait_s(60) >= 5


async def test_a_quota_refusal_teaches_a_pace_and_cuts_no_window() -> None:
    window = AdaptiveWindow(10)
    one = endpoint(10, window=window)
    one.start(0, 0)
    one.start(1, 0)
    assert one.failed(failed("rate_limited", retry_after_s=2), 1, 1.1)
    assert one.rate.is_known
    assert window.size == 10


async def test_a_refusal_without_a_time_cuts_the_window_and_teaches_no_pace() -> None:
    window = AdaptiveWindow(10)
    one = endpoint(10, window=window)
    assert not one.failed(failed("rate_limited"), 0, 0.1)
    assert not one.rate.is_known
    assert window.size == 7


@pytest.mark.parametrize("kind", ["server_error", "overloaded", "timeout", "connection"])
async def test_a_plain_failure_changes_neither_window_nor_pace(kind: FailureKind) -> None:
    window = AdaptiveWindow(10)
    one = endpoint(10, window=window)
    for _ in range(100):
        assert not one.failed(failed(kind, retry_after_s=1), 0, 1)
    assert (window.size, window.cuts, one.rate.is_known) == (10, 0, False)


async def test_failing_fast_is_not_being_fast() -> None:
    one = endpoint()
    one.answered(0, 1, 10)
    assert one.latency_s == 1
    for _ in range(50):
        one.failed(failed(), 0, 0.01)
    assert one.latency_s == pytest.approx(10, rel=0.1)


async def test_however_often_it_fails_its_latency_stays_bounded_and_is_forgotten() -> None:
    one = endpoint()
    one.answered(0, 1, 10)
    for _ in range(5_000):
        one.failed(failed(), 0, 0.01)
    assert math.isfinite(one.latency_s)
    assert one.latency_s <= 10
    for _ in range(50):
        one.answered(0, 1, 10)
    assert one.latency_s == pytest.approx(1, rel=0.1)


async def test_a_request_that_is_refused_for_what_it_says_makes_nobody_slow() -> None:
    one = endpoint()
    one.answered(0, 1, 10)
    for _ in range(50):
        one.failed(failed("invalid_request", retryable=False), 0, 0.01)
    assert one.latency_s == 1


async def test_one_that_only_ever_failed_is_taken_for_slow() -> None:
    one = endpoint()
    one.failed(failed("connection"), 0, 0.001)
    assert one.expected_s >= 10


async def test_what_is_expected_grows_with_the_queue_and_falls_with_the_weight() -> None:
    one, heavy = endpoint(), endpoint(weight=2)
    for each in (one, heavy):
        assert each.expected_s == 0
        each.answered(0, 2, 10)
        each.in_flight = 3
    assert (one.expected_s, heavy.expected_s) == (8, 4)


async def test_beside_others_half_of_its_calls_failing_makes_it_rest() -> None:
    for has_alternatives, expected in ((True, 1.0), (False, None)):
        one = endpoint()
        rests = []
        for _ in range(10):
            one.answered(0, 1, 10)
            rests.append(one.count_failure("timeout", 0, 1, has_alternatives=has_alternatives))
        assert rests[-1] == expected


async def test_a_limit_that_is_told_is_learned_once_and_again_where_it_changes() -> None:
    provider = Unasked(Quota(requests_per_min=100.0))
    one = Endpoint("a", provider, Slots(10), Prices(is_listed=False), RateLimits(500, None))
    assert one.learn_limits() == ["100 requests a minute, where 500 are set"]
    assert one.learn_limits() == []
    provider.quota = Quota(requests_per_min=200.0)
    assert one.learn_limits() == ["200 requests a minute, where 500 are set"]
    provider.quota = None
    assert one.learn_limits() == []


async def test_without_an_allowance_nothing_is_learned() -> None:
    assert endpoint(quota=Quota(requests_per_min=1.0)).learn_limits() == []


async def test_its_limits_are_told_as_set_as_reported_and_as_learned() -> None:
    assert endpoint().summary() == {"trips": 0, "limits": {"adaptive_rpm": None}}
    one = endpoint(limits=RateLimits(600, 10_000), quota=Quota(tokens_per_min=5_000.0))
    one.learn_limits()
    for second in range(61):
        one.start(second, 0)
    one.failed(failed("rate_limited", retry_after_s=1), 60, 60)
    told = one.summary()["limits"]
    assert told["adaptive_rpm"] == pytest.approx(60, rel=0.06)
    del told["adaptive_rpm"]
    assert told == {"rpm": 600, "tpm": 10_000, "provider_rpm": None, "provider_tpm": 5_000}


# --- what keeps a call from going out


def refused_once(one: Endpoint) -> None:
    """Teach it a pace of six calls a minute."""
    for second in range(0, 60, 10):
        one.rate.start(second)
    one.rate.refused(50, 60)


async def test_of_rest_pace_and_limit_the_one_that_lasts_longest_holds() -> None:
    one = endpoint(100, limits=RateLimits(60, 60))
    one.start(0, 30)
    assert held_by(one, 0, 0) == "rpm", "a second, and for no tokens there is no wait"
    assert held_by(one, 0, 30) == "tpm"
    one.cooldown_until_s, one.cooldown_cause = 10, "refused"
    assert held_by(one, 0, 0) == "refused"
    assert held_by(one, 0, 60) == "tpm", "half a minute, and more"
    refused_once(one)
    assert held_by(one, 60, 0) == "adaptive_rpm"
    one.cooldown_until_s, one.cooldown_cause = 3_600, "failing"
    assert held_by(one, 60, 0) == "failing"


def held_by(one: Endpoint, now_s: float, tokens: int) -> Cause:
    """Return what holds a call; mypy would take the first answer for the only one."""
    return one.wait_cause(now_s, tokens)


async def test_the_pace_after_a_rest_is_held_by_what_the_rest_was_for() -> None:
    one = endpoint(10)
    one.cooldown_cause = "refused"
    one.pace.begin(10)
    one.start(10.5, 0)
    assert one.opens_in_s(10.5, 0) > 0
    assert one.wait_cause(10.5, 0) == "refused"


async def test_of_an_endpoint_without_limits_only_rests_and_paces_hold() -> None:
    one = endpoint(10)
    one.cooldown_until_s = 5
    assert one.wait_cause(0, 0) == "failing"


@pytest.mark.parametrize(
    ("in_flight", "settings", "by"),
    [
        (10, {}, "capacity"),
        (10, {"window": AdaptiveWindow(10)}, "capacity"),
        (10, {"follows_concurrency": True}, "width"),
        (8, {"window": AdaptiveWindow(64, follows_latency=True)}, "ramp"),
        (10, {"full_at": 10}, "local"),
        (10, {"full_at": 20}, "capacity"),
    ],
)
async def test_why_there_is_no_place(in_flight: int, settings: Any, by: Cause) -> None:
    one = endpoint(64 if by == "ramp" else 10, **settings)
    one.in_flight = in_flight
    assert not one.has_slot()
    assert one.no_slot_cause() == by


async def test_a_window_that_was_cut_shows_what_the_endpoint_bears() -> None:
    window = AdaptiveWindow(10)
    one = endpoint(10, window=window)
    window.busy(0, 1)
    one.in_flight = 7
    assert one.no_slot_cause() == "saturated"


async def test_one_that_is_probed_has_no_place_because_it_failed() -> None:
    one = endpoint(10)
    for _ in range(8):
        one.count_failure("timeout", 0, 1, has_alternatives=False)
    one.in_flight = 1
    assert not one.has_slot()
    assert one.no_slot_cause() == "failing"


@pytest.mark.parametrize(("full_at", "is_full"), [(None, False), (5, False), (4, True), (3, True)])
async def test_it_is_full_where_more_calls_are_known_to_be_of_no_use(
    full_at: int | None, *, is_full: bool
) -> None:
    one = endpoint(10, full_at=full_at)
    one.in_flight = 4
    assert one.is_full == is_full
