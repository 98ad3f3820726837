"""What is scarce at one moment: what waits tells first, and then what the others are busy with."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.stats import BOTTLENECK_OF, Cause
from llmscale.observe.bottleneck import Snapshot, shares

QUIET = Snapshot(
    held={},
    in_flight=0,
    in_full=0,
    backing_off={},
    rows=64,
    waits_for=None,
    rows_wait_for="reading",
    has_ended=False,
    cpu=0.1,
    starved=0.0,
)


def found(**now: Any) -> dict[Cause, float]:
    return shares(QUIET._replace(**now))


CAUSES: st.SearchStrategy[Cause] = st.sampled_from(sorted(BOTTLENECK_OF))
COUNTS = st.integers(0, 1_000)
MOMENTS = st.builds(
    Snapshot,
    held=st.dictionaries(CAUSES, COUNTS),
    in_flight=COUNTS,
    in_full=COUNTS,
    backing_off=st.dictionaries(CAUSES, COUNTS),
    rows=COUNTS,
    waits_for=st.sampled_from(["rows", "space", None]),
    rows_wait_for=st.sampled_from(["users", "reading"]),
    has_ended=st.booleans(),
    cpu=st.floats(0, 4),
    starved=st.floats(0, 1),
)


@given(MOMENTS)
def test_the_shares_of_any_moment_are_parts_of_one(moment: Snapshot) -> None:
    parts = shares(moment)
    assert sum(parts.values()) == pytest.approx(1)
    assert min(parts.values()) >= 0


def test_what_waiting_calls_wait_for_goes_before_what_others_do() -> None:
    assert found(held={"rpm": 3}, in_flight=60) == {"rpm": 1}
    assert found(held={"rpm": 30, "capacity": 10, "budget": 0}) == {"rpm": 0.75, "capacity": 0.25}
    assert found(held={"saturated": 1}, has_ended=True, in_flight=8) == {"saturated": 1}


@pytest.mark.parametrize(
    ("cpu", "starved", "parts"),
    [
        (1.2, 0.0, {"cpu": 1.0}),
        (0.9, 0.0, {"cpu": 1.0}),
        (0.25, 0.75, {"cpu": 0.25, "starved": 0.75}),
        (0.89, 0.0, {"width": 1.0}),
    ],
)
def test_a_core_that_is_full_is_scarce_whoever_fills_it(
    cpu: float, starved: float, parts: dict[Cause, float]
) -> None:
    assert found(in_flight=64, cpu=cpu, starved=starved) == parts


@pytest.mark.parametrize("limit", ["rpm", "provider_tpm", "adaptive_rpm", "refused", "budget"])
def test_where_calls_wait_for_a_limit_a_full_core_changes_nothing(limit: Cause) -> None:
    assert found(held={limit: 1}, cpu=1.0) == {limit: 1}


@pytest.mark.parametrize("place", ["capacity", "ramp", "saturated", "local"])
def test_where_calls_wait_for_a_place_a_full_core_is_why_none_is_free(place: Cause) -> None:
    assert found(held={place: 9}, cpu=1.0) == {"cpu": 1}


def test_who_is_busy_without_anybody_waiting_is_short_of_places() -> None:
    assert found(in_flight=64) == {"width": 1}


def test_calls_that_back_off_have_their_part_of_the_busy_ones() -> None:
    assert found(in_flight=30, backing_off={"failing": 10, "refused": 0}) == {
        "width": 0.75,
        "failing": 0.25,
    }
    assert found(backing_off={"too_many": 2}, has_ended=True) == {"too_many": 1}


def test_a_model_in_this_process_that_is_full_would_not_answer_more() -> None:
    assert found(in_full=4, in_flight=12) == {"local": 0.25, "width": 0.75}


@pytest.mark.parametrize("waits_for", ["rows", "space", None])
def test_when_the_input_has_ended_more_in_flight_would_be_of_no_use(waits_for: str | None) -> None:
    assert found(in_flight=5, has_ended=True, waits_for=waits_for) == {"last": 1}


def test_a_place_without_a_row_shows_that_rows_are_scarce() -> None:
    assert found(waits_for="rows", in_flight=63) == {"reading": 1}
    assert found(waits_for="rows", in_flight=63, rows_wait_for="users") == {"users": 1}


def test_a_slot_that_waits_for_space_shows_that_the_store_is_behind() -> None:
    assert found(waits_for="space", in_flight=58) == {"storing": 1}


def test_rows_without_a_call_are_looked_up_and_after_the_last_the_store_is_waited_for() -> None:
    assert found() == {"cache": 1}
    assert found(has_ended=True) == {"cache": 1}
    assert found(rows=0, has_ended=True) == {"storing": 1}
