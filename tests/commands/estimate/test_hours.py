"""How long rows take by each thing that can limit a run."""

import math
from typing import Any

import pytest

from llmscale.accounting.forecast.saved_estimate import Pace
from llmscale.commands.estimate.hours import (
    ROWS_PER_S,
    START_S,
    Level,
    Pacing,
    Work,
    bounds_of,
    hours_at_pace,
    hours_of,
)
from llmscale.commands.limit_bounds import Binding, Bound, Need
from llmscale.config import EndpointConfig, UserLimit
from llmscale.runtime.models import Models
from tests.settings import config_of

MODEL = "sim/a"
CALLS = 6_000


def pacing(paces: dict[str, Pace] | None = None, **settings: Any) -> Pacing:
    config = config_of(**({"model": MODEL} | settings))
    return Pacing(config, Models(config.models), paces or {})


def work(busy_s: float | None = None, **fields: Any) -> Work:
    usual: dict[str, Any] = {
        "rows": CALLS,
        "by_model": {MODEL: Need(CALLS, 600_000)},
        "by_user": {},
        "busy_s": None if busy_s is None else {MODEL: busy_s},
    }
    return Work(**(usual | fields))


def bound(found: list[Bound], budget: str) -> Bound:
    (one,) = (b for b in found if b.binding.budget == budget)
    return one


def minutes(pace: Pacing, taken: Work, budget: str, level: Level = "estimate") -> float:
    return bound(bounds_of(pace, taken, level), budget).minutes


def test_requests_and_tokens_take_as_long_as_their_limits() -> None:
    limited = pacing(rpm=600, tpm=60_000)
    assert minutes(limited, work(), "rpm") == pytest.approx(CALLS / 600, rel=0.01)
    assert minutes(limited, work(), "tpm") == pytest.approx(10, rel=0.01)


def test_the_lower_of_a_configured_and_a_reported_limit_applies() -> None:
    reported = {MODEL: Pace(64, rpm=60.0, tpm=1e9)}
    found = pacing(reported, rpm=600, tpm=60_000)
    assert minutes(found, work(), "rpm") == pytest.approx(100, rel=0.01)
    assert minutes(found, work(), "tpm") == pytest.approx(10, rel=0.01)
    assert minutes(pacing({MODEL: Pace(64, rpm=60.0)}), work(), "rpm") == pytest.approx(
        100, rel=0.1
    )


def test_a_user_takes_as_long_as_the_limits_of_the_user() -> None:
    limited = pacing(limits_user=UserLimit(rpm=10))
    found = bounds_of(limited, work(by_user={"u": Need(100, 0), "v": Need(5, 0)}), "estimate")
    users = {b.binding.name: b.minutes for b in found if b.binding.scope == "user"}
    assert users["u"] == pytest.approx(9.9)


def test_calls_take_their_seconds_over_the_calls_in_flight() -> None:
    endpoint = (EndpointConfig(model=MODEL, capacity=10),)
    assert minutes(pacing(endpoint=endpoint), work(6_000.0), "concurrency") == pytest.approx(10)


def test_without_known_latency_there_is_no_bound_for_calls_in_flight() -> None:
    assert not [
        b for b in bounds_of(pacing(), work(), "estimate") if b.binding.budget == "concurrency"
    ]


@pytest.mark.parametrize(
    ("level", "grows", "in_flight"),
    [
        ("low", False, 40),
        ("low", True, 40),
        ("estimate", False, 8),
        ("estimate", True, 40),
        ("high", True, 8),
        ("high", False, 8),
    ],
)
def test_calls_in_flight_are_as_configured_or_as_measured(
    level: Level, grows: bool, in_flight: int
) -> None:
    endpoint = (EndpointConfig(model=MODEL, capacity=40),)
    paced = pacing({MODEL: Pace(8.0, grows)}, endpoint=endpoint)
    expected = 6_000 / in_flight / 60
    assert minutes(paced, work(6_000.0), "concurrency", level) == pytest.approx(expected)


def test_endpoints_of_a_model_share_its_calls_and_concurrency_applies_to_all() -> None:
    endpoints = (EndpointConfig(model=MODEL, capacity=10), EndpointConfig(model=MODEL, capacity=30))
    found = bounds_of(pacing(endpoint=endpoints, concurrency=5), work(6_000.0), "estimate")
    in_flight = {b.binding.name: b.minutes for b in found if b.binding.budget == "concurrency"}
    assert in_flight == {
        "sim/a #1, sim/a #2": pytest.approx(2.5),
        "--concurrency": pytest.approx(20),
    }


@pytest.mark.parametrize("level", ROWS_PER_S)
def test_a_process_takes_time_for_every_row(level: Level) -> None:
    expected = CALLS / ROWS_PER_S[level] / 60
    assert minutes(pacing(), work(), "process", level) == pytest.approx(expected)


def test_a_run_takes_as_long_as_its_slowest_bound_and_its_start() -> None:
    bounds = [Bound(30.0, Binding("run", "a", "rpm")), Bound(60.0, Binding("run", "b", "tpm"))]
    assert hours_of(bounds, "estimate") == pytest.approx(1 + START_S["estimate"] / 3600)
    assert math.isclose(hours_of([], "low"), START_S["low"] / 3600)


def test_the_pace_of_the_sample_gives_the_hours() -> None:
    assert hours_at_pace(pacing()._replace(rows_per_s=2.0), 7_200) == pytest.approx(1)
    assert hours_at_pace(pacing(), 7_200) == 0


def test_the_levels_are_ordered() -> None:
    assert ROWS_PER_S["low"] > ROWS_PER_S["estimate"] > ROWS_PER_S["high"]
    assert START_S["low"] < START_S["estimate"] < START_S["high"]
