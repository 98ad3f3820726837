"""The values that travel: usages add, and nothing can be changed on the way."""

import typing

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.records import Failure, FailureKind, Outcome, Reply, Request, Row, Usage

COUNTS = st.integers(min_value=0, max_value=10**9)
USAGES = st.builds(Usage, *[COUNTS] * len(Usage.__struct_fields__))
VALUES = [
    Usage(),
    Request(model="sim/x", messages=[]),
    Reply(text="a", finish_reason="stop", model="x", usage=Usage()),
    Failure(kind="timeout", message="no answer"),
    Row(index=0),
    Outcome(row=Row(index=0)),
]


@given(USAGES, USAGES)
def test_no_field_of_a_usage_is_left_out_of_the_sum(a: Usage, b: Usage) -> None:
    summed = msgspec.structs.astuple(a + b)
    parts = zip(msgspec.structs.astuple(a), msgspec.structs.astuple(b), strict=True)
    assert summed == tuple(x + y for x, y in parts)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_can_not_be_changed(value: msgspec.Struct) -> None:
    for name in value.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(value, name, None)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_survives_json(value: msgspec.Struct) -> None:
    assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value


def test_a_request_leaves_out_what_it_was_not_asked_for() -> None:
    request = Request(model="sim/x", messages=[{"role": "user", "content": "hi"}])
    given = {name for name, value in msgspec.structs.asdict(request).items() if value}
    assert given == {"model", "messages"}


def test_a_failure_is_neither_retried_nor_ends_the_job_unless_it_says_so() -> None:
    failure = Failure(kind="internal", message="")
    assert (failure.retryable, failure.stops_job) == (False, False)
    assert (failure.retry_after_s, failure.reply) == (None, None)


def test_kinds_of_failures_are_closed_and_each_is_plain_text() -> None:
    kinds = typing.get_args(FailureKind)
    assert len(set(kinds)) == len(kinds) > 10
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "nonsense", "message": ""}, Failure)
    assert all(orjson.loads(orjson.dumps(kind)) == kind for kind in kinds)
