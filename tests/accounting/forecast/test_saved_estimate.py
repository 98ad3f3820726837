"""What is kept of an estimate comes back as it was, and anything else is none."""

import orjson
import pytest

from llmscale.accounting.forecast.interval import Interval
from llmscale.accounting.forecast.saved_estimate import (
    Observation,
    Overhead,
    Pace,
    Sample,
    SavedEstimate,
    decode,
    encode,
)
from llmscale.core.records import Usage

KEPT = SavedEstimate(
    inputs=["a"],
    settings={"model": "sim/a", "param": {"x": 1}},
    limit=5,
    made="2026-01-01T00:00:00+00:00",
    asked=4.0,
    usd=Interval(2.0, 1.0, None),
    usd_deviation=0.5,
    hours=Interval(None, 0.1, None),
    sample=Sample(
        observations=[
            Observation(index=1, usage=Usage(3, 4), model="m", endpoint="e", latency_s=0.5),
            Observation(index=2, failure="timeout"),
        ],
        overhead={"m": Overhead(1.5, 1.1)},
        paces={"e": Pace(8.0, True, 60.0, None)},
        rows_per_s=3.0,
    ),
)


def test_it_comes_back_as_it_was() -> None:
    assert decode(encode(KEPT)) == KEPT


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 5_000, b'{"version": 1}'])
def test_what_is_none_is_taken_as_none(raw: bytes) -> None:
    assert decode(raw) is None


def test_one_of_another_version_is_taken_as_none() -> None:
    other = orjson.loads(encode(KEPT)) | {"version": 2}
    assert decode(orjson.dumps(other)) is None


def test_it_is_of_the_job_with_its_inputs_and_settings_alone() -> None:
    assert KEPT.is_of(["a"], {"model": "sim/a", "param": {"x": 1}})
    assert not KEPT.is_of(["b"], {"model": "sim/a", "param": {"x": 1}})
    assert not KEPT.is_of(["a"], {"model": "sim/a"})
