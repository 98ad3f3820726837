"""The report: numbers that add up under documented keys."""

import json

import pytest
from msgspec import to_builtins

from llmscale import __version__
from llmscale.accounting.run_numbers import SCHEMA_VERSION
from llmscale.accounting.stats import Stats
from llmscale.core.records import Usage
from llmscale.report.builder import encode
from llmscale.report.remarks import summary_line
from tests.report import STORE, add_row, add_row_for_nothing, built, mixed_stats, typed

TOP_KEYS = {
    "schema",
    "llmscale",
    "inputs",
    "output",
    "started",
    "wall_s",
    "exit_code",
    "rows",
    "failures",
    "rows_per_s",
    "calls",
    "cache",
    "batches",
    "documents",
    "models",
    "endpoints",
    "users",
    "bottleneck",
    "timeline",
    "alerts",
    "max_repeated_calls",
    "job",
    "estimate",
}
LATENCY_KEYS = {"p50", "p90", "p95", "p99", "mean", "max"}
ROW_KEYS = {
    "answered",
    "truncated",
    "cached",
    "deduped",
    "fallback",
    "failed",
    "failures",
    "latency_s",
    "latency_histogram",
}
LOT_KEYS = {"count", "rows", "mean_rows", "mean_fill"}
CACHE_KEYS = {
    "mode",
    "hits",
    "misses",
    "hit_rate",
    "deduped",
    "saved_tokens",
    "saved_usd",
    "saved_by_cache",
    "saved_by_sharing",
}
CALL_KEYS = {
    "attempts",
    "retries",
    "failures",
    "tokens",
    "cost_usd",
    "unpriced",
    "queued_s",
    "limited_s",
    "latency_s",
    "total_s",
}


@pytest.fixture
def mixed() -> Stats:
    return mixed_stats()


def test_the_report_has_the_documented_keys(mixed: Stats) -> None:
    found = json.loads(encode(typed(built(mixed, 5))))
    assert set(found) == TOP_KEYS
    assert set(found["rows"]) == {"total", "kept", "pending", *ROW_KEYS}
    assert set(found["calls"]) == CALL_KEYS
    assert set(found["cache"]) == CACHE_KEYS
    assert set(found["batches"]) == LOT_KEYS
    assert set(found["calls"]["tokens"]) == set(Usage.__struct_fields__)
    assert set(found["models"]) == {"sim/a", "sim/b"}
    assert set(found["endpoints"]) == {"at sim/a", "at sim/b"}
    for part in found["models"].values():
        assert set(part) == {"rows", "calls"}
        assert (set(part["rows"]), set(part["calls"])) == (ROW_KEYS, CALL_KEYS)
    for part in found["endpoints"].values():
        assert set(part) == {*CALL_KEYS, "trips", "limits"}
    for part in (found["rows"], found["calls"], *found["endpoints"].values()):
        assert set(part["latency_s"]) == LATENCY_KEYS
    assert set(found["job"]) == {"runs", "spend", "unconfirmed_usd", "max_cost_usd", "left_usd"}
    assert found["job"]["spend"] == {
        "attempts": 1,
        "input_tokens": 2,
        "output_tokens": 3,
        "cost_usd": 4.0,
        "unpriced": 5,
    }


def test_the_report_says_what_it_was_told() -> None:
    found = built(Stats(), 0, runs=3, max_repeated_calls=7)
    assert found["schema"] == SCHEMA_VERSION == 2
    assert found["llmscale"] == __version__
    assert (found["inputs"], found["output"]) == (["in.jsonl"], "out.jsonl")
    assert found["started"] == "2026-01-02T03:04:05+00:00"
    assert (found["wall_s"], found["exit_code"]) == (2.0, 1)
    assert (found["job"]["runs"], found["max_repeated_calls"]) == (3, 7)


def test_rows_add_up(mixed: Stats) -> None:
    rows = built(mixed, 12, kept=4)["rows"]
    assert rows["total"] == 12
    assert (rows["kept"], rows["answered"], rows["failed"], rows["pending"]) == (4, 3, 2, 3)
    assert rows["kept"] + rows["answered"] + rows["failed"] + rows["pending"] == rows["total"]
    assert rows["failed"] == sum(rows["failures"].values())
    assert rows["failures"] == {"timeout": 1, "bad_row": 1}
    assert rows["truncated"] == 1


def test_models_and_endpoints_add_up_to_the_calls(mixed: Stats) -> None:
    found = built(mixed, 5)
    for parts in (
        [part["calls"] for part in found["models"].values()],
        list(found["endpoints"].values()),
    ):
        for name in ("attempts", "unpriced"):
            assert sum(part[name] for part in parts) == found["calls"][name]
        assert sum(part["cost_usd"] or 0 for part in parts) == found["calls"]["cost_usd"] == 1.0
        for kind, count in found["calls"]["failures"].items():
            assert sum(part["failures"].get(kind, 0) for part in parts) == count
    assert found["calls"]["attempts"] == 6
    assert found["calls"]["tokens"]["input_tokens"] == 30


def test_the_cache_says_what_it_was_asked_and_what_it_saved() -> None:
    stats = Stats()
    add_row(stats, "sim/a")
    add_row_for_nothing(stats, "sim/a", cached=True)
    add_row_for_nothing(stats, "sim/a", cached=False)
    stats.add_lookup("sim/a", hit=True)
    stats.add_lookup("sim/b", hit=False)
    stats.add_lookup("sim/b", hit=False)
    found = built(stats, 3, store=STORE)
    assert found["cache"] == {
        "mode": "on",
        "hits": 1,
        "misses": 2,
        "hit_rate": 0.333333,
        "deduped": 1,
        "saved_tokens": 60,
        "saved_usd": 1.0,
        "saved_by_cache": {"tokens": 30, "usd": 0.5},
        "saved_by_sharing": {"tokens": 30, "usd": 0.5},
        **to_builtins(STORE),
    }
    assert (found["rows"]["answered"], found["rows"]["cached"]) == (3, 1)
    assert (found["calls"]["attempts"], found["calls"]["cost_usd"]) == (1, 0.5)
    assert "1 from the cache, 1 shared a call" in summary_line(typed(found))


def test_a_run_without_a_cache_has_no_hit_rate() -> None:
    cache = built(Stats(), 0)["cache"]
    assert (cache["mode"], cache["hit_rate"]) == ("off", None)


def test_a_run_without_time_has_no_rate() -> None:
    assert built(Stats(), 0, wall_s=0.0)["rows_per_s"] is None
    stats = Stats()
    add_row(stats, "sim/a")
    assert built(stats, 1, wall_s=2.0)["rows_per_s"] == 0.5


def test_nothing_is_pending_when_more_was_done_than_was_known_of(mixed: Stats) -> None:
    assert built(mixed, 3)["rows"]["pending"] == 0


def test_what_was_not_counted_is_null_in_strict_json() -> None:
    found = json.loads(encode(typed(built(Stats(), 0))))
    assert set(found["rows"]["latency_s"].values()) == {None}
    assert found["calls"]["cost_usd"] == 0


@pytest.mark.parametrize(
    ("max_cost_usd", "unconfirmed_usd", "left_usd"),
    [(None, 0.0, None), (10.0, 0.0, 6.0), (10.0, 1.5, 4.5), (4.0, 0.0, 0.0), (3.0, 9.0, 0.0)],
)
def test_what_is_left_of_a_cap_is_what_is_neither_spent_nor_maybe_spent(
    mixed: Stats, max_cost_usd: float | None, unconfirmed_usd: float, left_usd: float | None
) -> None:
    """All runs of the job together have spent $4."""
    found = built(mixed, 5, max_cost_usd=max_cost_usd, unconfirmed_usd=unconfirmed_usd)["job"]
    assert (found["max_cost_usd"], found["unconfirmed_usd"]) == (max_cost_usd, unconfirmed_usd)
    assert found["left_usd"] == left_usd
