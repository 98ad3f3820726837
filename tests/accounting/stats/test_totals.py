"""Numbers that add: shards merge into the whole, quantiles hold their promise, nothing is 0/0."""

import math
from typing import Any, get_args

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from llmscale.accounting.stats import (
    BOTTLENECK_OF,
    BOTTLENECKS,
    QUANTILES,
    Calls,
    Cause,
    Latency,
    Rows,
    Spend,
    Stats,
)
from llmscale.core.records import Failure, FailureKind, Outcome, Reply, Request, Row, Usage

SECONDS = st.floats(min_value=0, max_value=10_000)
KINDS: st.SearchStrategy[FailureKind] = st.sampled_from(["timeout", "rate_limited", "bad_response"])
MODELS = st.sampled_from(["sim/a", "sim/b"])
USAGES = st.builds(Usage, *[st.integers(0, 10**6)] * 5)
REPLIES = st.builds(
    Reply,
    text=st.just("x"),
    finish_reason=st.sampled_from(["stop", "length"]),
    model=st.just("m"),
    usage=USAGES,
    cost_usd=st.none() | st.floats(0, 10),
    cached=st.booleans(),
    deduped=st.booleans(),
)
ROWS = st.builds(
    Row,
    index=st.just(0),
    request=st.none() | st.builds(Request, model=MODELS, messages=st.just([])),
)
FAILURES = st.builds(Failure, kind=KINDS, message=st.just(""))
OUTCOMES = st.builds(Outcome, row=ROWS, reply=REPLIES, latency_s=SECONDS) | st.builds(
    Outcome, row=ROWS, failure=FAILURES, latency_s=SECONDS
)
ATTEMPTS = st.tuples(
    st.sampled_from(["here", "there"]),
    MODELS,
    SECONDS,
    st.lists(REPLIES, max_size=2),
    st.none() | KINDS,
)
LOOKUPS = st.tuples(MODELS, st.booleans())
EVENTS = st.lists(OUTCOMES | ATTEMPTS | LOOKUPS, max_size=30)


def add(stats: Stats, event: Any) -> None:
    if isinstance(event, Outcome):
        stats.add_outcome(event)
    elif len(event) == 2:
        stats.add_lookup(event[0], hit=event[1])
    else:
        endpoint, model, *numbers = event
        stats.calls_at(endpoint, model).add(*numbers)


def numbers(stats: Stats) -> dict[str, Any]:
    """Return everything that can be asked of `stats`."""
    return {
        "done": stats.done,
        "saved_tokens": stats.rows().saved_tokens,
        "saved_usd": stats.rows().saved_usd,
        "lookups": vars(stats.lookups()),
        "lookups_by_model": {m: vars(looked) for m, looked in stats.lookups_by_model().items()},
        "rows": stats.rows().summary(),
        "calls": stats.calls().summary(),
        "rows_by_model": {m: rows.summary() for m, rows in stats.rows_by_model().items()},
        "calls_by_model": {m: calls.summary() for m, calls in stats.calls_by_model().items()},
        "by_endpoint": {n: calls.summary() for n, calls in stats.calls_by_endpoint().items()},
        "spend": orjson.loads(orjson.dumps(spend_fields(stats.spend()))),
    }


def spend_fields(spend: Spend) -> dict[str, float]:
    return {name: getattr(spend, name) for name in Spend.__struct_fields__}


def assert_same(one: Any, other: Any) -> None:
    """Equal but for what the order of adding floats does."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-9, abs=2e-6)
    else:
        assert one == other


@given(EVENTS, st.lists(st.integers(0, 3), min_size=30, max_size=30))
@settings(max_examples=60)
def test_shards_merge_into_the_whole(events: list[Any], shard_of: list[int]) -> None:
    whole = Stats()
    shards = [Stats() for _ in range(4)]
    for event, shard in zip(events, shard_of, strict=False):
        add(whole, event)
        add(shards[shard], event)
    merged = Stats()
    for part in shards:
        merged.merge(part)
    assert_same(numbers(merged), numbers(whole))


@given(EVENTS, EVENTS)
@settings(max_examples=30)
def test_merging_leaves_the_other_shard_as_it_was(mine: list[Any], theirs: list[Any]) -> None:
    one, other = Stats(), Stats()
    for event in mine:
        add(one, event)
    for event in theirs:
        add(other, event)
    before = numbers(other)
    one.merge(other)
    add(one, ("here", "sim/a", 1.0, [], None))
    assert numbers(other) == before


@given(st.lists(st.floats(min_value=1e-6, max_value=10_000), min_size=1, max_size=200))
def test_a_quantile_is_right_to_one_percent(seconds: list[float]) -> None:
    latency = Latency()
    for duration_s in seconds:
        latency.add(duration_s)
    summary = latency.summary()
    ordered = sorted(seconds)
    for name, q in QUANTILES.items():
        exact = ordered[math.floor(q * (len(ordered) - 1))]
        assert getattr(summary, name) == pytest.approx(exact, rel=0.01001, abs=1e-6)
    assert summary.max == pytest.approx(max(seconds), abs=1e-6)
    assert summary.mean == pytest.approx(sum(seconds) / len(seconds), rel=1e-9, abs=1e-6)


@given(st.lists(st.floats(min_value=0, max_value=10_000), max_size=200))
def test_what_is_not_above_a_bound_is_counted_and_bounds_are_right_to_one_percent(
    seconds: list[float],
) -> None:
    latency, bounds_s = Latency(), (0.01, 0.1, 1.0, 60.0, 5_000.0)
    for duration_s in seconds:
        latency.add(duration_s)
    counts = latency.counts_up_to(bounds_s)
    for bound_s, count in zip(bounds_s, counts, strict=True):
        at_least = sum(s <= bound_s * 0.9899 for s in seconds)
        assert at_least <= count <= sum(s <= bound_s * 1.0102 for s in seconds)
    assert counts == sorted(counts)
    assert latency.count == len(seconds)
    assert latency.sum_s == pytest.approx(sum(seconds), rel=1e-9, abs=1e-6)


def test_nothing_counted_gives_null_and_not_a_division_by_zero() -> None:
    assert set(asdict(Latency().summary()).values()) == {None}
    assert set(asdict(Rows().summary().latency_s).values()) == {None}
    assert set(asdict(Calls().summary().latency_s).values()) == {None}
    assert numbers(Stats())["done"] == 0
    assert Stats().spend() == Spend()


def test_nothing_bought_costs_nothing_and_not_an_unknown_price() -> None:
    assert Calls().known_cost_usd == 0.0


def paid(cost_usd: float | None) -> Reply:
    return Reply(text="x", finish_reason="stop", model="m", usage=Usage(10, 2), cost_usd=cost_usd)


def test_a_failed_attempt_that_was_paid_for_costs() -> None:
    calls = Calls()
    calls.add(0.1, [paid(0.25)], "bad_response")
    assert (calls.attempts, calls.cost_usd, calls.usage) == (1, 0.25, Usage(10, 2))
    assert calls.failures == {"bad_response": 1}


def test_only_answered_attempts_have_a_latency() -> None:
    calls = Calls()
    calls.add(0.1, [paid(0.0)], None)
    calls.add(60.0, [], "timeout")
    assert calls.latency.summary().max == 0.1


def test_an_attempt_after_the_first_is_a_retry() -> None:
    stats = Stats()
    for attempt in (1, 2, 3):
        stats.calls_at("x", "sim/a").add(0.1, [], "timeout", attempt=attempt)
    whole = Stats()
    whole.merge(stats)
    whole.merge(stats)
    (counted,) = whole.calls_by_endpoint_and_model().values()
    assert (counted.attempts, counted.retries) == (6, 4)


def test_an_unknown_price_makes_the_cost_unknown_only_where_all_are() -> None:
    calls = Calls()
    calls.add(0.1, [paid(None)], None)
    assert (calls.known_cost_usd, calls.unpriced) == (None, 1)
    calls.add(0.1, [paid(0.5)], None)
    assert (calls.known_cost_usd, calls.unpriced) == (0.5, 1)


def outcome(model: str | None, **fields: Any) -> Outcome:
    request = None if model is None else Request(model=model, messages=[])
    return Outcome(row=Row(index=0, request=request), **fields)


def test_rows_are_counted_by_what_became_of_them() -> None:
    stats = Stats()
    cut = Reply(text="x", finish_reason="length", model="m", usage=Usage(), cached=True)
    stats.add_outcome(outcome("sim/a", reply=paid(0.0), latency_s=2.0))
    stats.add_outcome(outcome("sim/b", reply=cut, latency_s=4.0))
    stats.add_outcome(outcome("sim/b", failure=Failure(kind="timeout", message="")))
    stats.add_outcome(outcome(None, failure=Failure(kind="bad_row", message="")))
    rows = stats.rows()
    assert (rows.answered, rows.failed, rows.truncated, rows.cached) == (2, 2, 1, 1)
    assert rows.failures == {"timeout": 1, "bad_row": 1}
    assert stats.done == 4
    assert rows.latency.summary().max == 4.0


def test_what_was_not_paid_again_is_saved_and_not_spent() -> None:
    stats = Stats()
    for fields in ({"cached": True}, {"deduped": True}, {}):
        stats.add_outcome(outcome("sim/a", reply=msgspec.structs.replace(paid(0.25), **fields)))
    rows = stats.rows()
    assert (rows.cached, rows.deduped, rows.answered) == (1, 1, 3)
    assert (rows.saved_tokens, rows.saved_usd) == (24, 0.5)
    assert stats.spend() == Spend()


def test_lookups_are_counted_by_model() -> None:
    stats = Stats()
    for model, hit in (("sim/b", True), ("sim/a", False), ("sim/b", False)):
        stats.add_lookup(model, hit=hit)
    counted = {m: (looked.hits, looked.misses) for m, looked in stats.lookups_by_model().items()}
    assert counted == {"sim/a": (0, 1), "sim/b": (1, 1)}
    assert (stats.lookups().hits, stats.lookups().misses) == (1, 2)


def test_rows_that_are_no_request_belong_to_no_model() -> None:
    stats = Stats()
    stats.add_outcome(outcome(None, failure=Failure(kind="bad_row", message="")))
    stats.add_outcome(outcome("sim/a", reply=paid(0.0)))
    assert list(stats.rows_by_model()) == ["sim/a"]
    assert stats.rows().failed == 1


def test_calls_are_told_apart_by_endpoint_and_by_model() -> None:
    stats = Stats()
    for endpoint, model in (("x", "sim/a"), ("x", "sim/b"), ("y", "sim/b")):
        stats.calls_at(endpoint, model).add(0.1, [paid(1.0)])
    assert {n: c.attempts for n, c in stats.calls_by_endpoint().items()} == {"x": 2, "y": 1}
    assert {m: c.cost_usd for m, c in stats.calls_by_model().items()} == {"sim/a": 1, "sim/b": 2}
    both = stats.calls_by_endpoint_and_model()
    assert list(both) == [("x", "sim/a"), ("x", "sim/b"), ("y", "sim/b")]
    assert {c.attempts for c in both.values()} == {1}
    assert stats.spend() == Spend(3, 30, 6, 3.0, 0)


def test_spends_add_field_by_field() -> None:
    assert Spend(1, 2, 3, 4.0, 5) + Spend(10, 20, 30, 40.0, 50) == Spend(11, 22, 33, 44.0, 55)


def test_what_held_shards_back_adds_up_by_cause_and_by_bound() -> None:
    one, other = Stats(), Stats()
    one.causes_s.update({"rpm": 1.0, "provider_rpm": 2.0, "width": 4.0})
    other.causes_s.update({"rpm": 8.0, "writing": 16.0})
    one.merge(other)
    assert one.causes_s == {"rpm": 9.0, "provider_rpm": 2.0, "width": 4.0, "writing": 16.0}
    assert one.held_s() == {"requests": 11.0, "concurrency": 4.0, "disk": 16.0}
    assert other.held_s() == {"requests": 8.0, "disk": 16.0}
    assert Stats().held_s() == {}


def test_every_cause_has_its_bound_and_every_bound_a_cause() -> None:
    assert set(BOTTLENECK_OF) == set(get_args(Cause))
    assert set(BOTTLENECK_OF.values()) == set(BOTTLENECKS)
