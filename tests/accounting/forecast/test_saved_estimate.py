"""A saved estimate decodes to what it was, and anything else to None."""

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

SAVED = SavedEstimate(
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


def test_a_saved_estimate_decodes_to_what_it_was() -> None:
    assert decode(encode(SAVED)) == SAVED


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 5_000, b'{"version": 1}'])
def test_bytes_that_are_no_estimate_decode_to_none(raw: bytes) -> None:
    assert decode(raw) is None


def test_another_version_decodes_to_none() -> None:
    other = orjson.loads(encode(SAVED)) | {"version": 2}
    assert decode(orjson.dumps(other)) is None


def test_an_estimate_belongs_to_jobs_with_its_inputs_and_settings() -> None:
    assert SAVED.is_of(["a"], {"model": "sim/a", "param": {"x": 1}})
    assert not SAVED.is_of(["b"], {"model": "sim/a", "param": {"x": 1}})
    assert not SAVED.is_of(["a"], {"model": "sim/a"})
