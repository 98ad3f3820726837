"""The report: numbers that add up under documented keys, and a table that any name can stand in."""

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llmscale import __version__, report
from llmscale.records import Failure, FailureKind, Outcome, Reply, Request, Row, Usage
from llmscale.report import JobFacts, build, default_path, encode, print_table, summary_line
from llmscale.stats import Spend, Stats

TOP_KEYS = {
    "schema",
    "llmscale",
    "inputs",
    "output",
    "started",
    "wall_s",
    "exit_code",
    "rows",
    "rows_per_s",
    "calls",
    "cache",
    "lots",
    "models",
    "endpoints",
    "paid_again_at_most",
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
}
LOT_KEYS = {"count", "rows", "mean_rows", "mean_fill"}
CACHE_KEYS = {"mode", "hits", "misses", "hit_rate", "deduped", "saved_tokens", "saved_usd"}
STORE = {"stored": 1, "dropped": 2, "evicted": 3, "refused": 4, "errors": 5}
CALL_KEYS = {"attempts", "failures", "tokens", "cost_usd", "unpriced", "latency_s"}


def add_row(
    stats: Stats,
    model: str,
    *failures: FailureKind,
    is_answered: bool = True,
    cost_usd: float | None = 0.5,
    truncated: bool = False,
) -> None:
    """Count a row that failed this often and was then answered, or was not."""
    request = Request(model=model, messages=[])
    reply = Reply(
        text="x",
        finish_reason="length" if truncated else "stop",
        model=model,
        usage=Usage(10, 20),
        cost_usd=cost_usd,
    )
    row = Row(index=0, request=request)
    for kind in failures:
        stats.add_attempt(f"at {model}", model, 0.5, [], kind)
    if is_answered:
        stats.add_attempt(f"at {model}", model, 0.5, [reply])
        stats.add_outcome(Outcome(row=row, reply=reply, latency_s=1.0))
    else:
        failure = Failure(kind=failures[-1], message="")
        stats.add_outcome(Outcome(row=row, failure=failure))


def add_bad_row(stats: Stats) -> None:
    failure = Failure(kind="bad_row", message="")
    stats.add_outcome(Outcome(row=Row(index=0, failure=failure), failure=failure))


def add_row_for_nothing(stats: Stats, model: str, *, cached: bool) -> None:
    """Count a row that was answered by the cache, or by the call of another row."""
    reply = Reply(
        text="x",
        finish_reason="stop",
        model=model,
        usage=Usage(10, 20),
        cost_usd=0.5,
        cached=cached,
        deduped=not cached,
    )
    request = Request(model=model, messages=[])
    stats.add_outcome(Outcome(row=Row(index=0, request=request), reply=reply))


def built(
    stats: Stats,
    total: int,
    wall_s: float = 2.0,
    store: dict[str, int] | None = None,
    **facts: Any,
) -> dict[str, Any]:
    facts_ = JobFacts(**{"total": total, "spend": Spend(1, 2, 3, 4.0, 5), **facts})
    return build(
        stats,
        facts_,
        inputs=["in.jsonl"],
        output="out.jsonl",
        started=datetime(2026, 1, 2, 3, 4, 5, 678, UTC),
        wall_s=wall_s,
        exit_code=1,
        cache_mode="on",
        store=store,
    )


@pytest.fixture
def mixed() -> Stats:
    """Two models, a retry, a failure, a cut answer and a bad row."""
    stats = Stats()
    add_row(stats, "sim/a")
    add_row(stats, "sim/a", "rate_limited", truncated=True)
    add_row(stats, "sim/a", "timeout", "timeout", is_answered=False)
    add_row(stats, "sim/b", cost_usd=None)
    add_bad_row(stats)
    return stats


def test_the_report_has_the_documented_keys(mixed: Stats) -> None:
    found = json.loads(encode(built(mixed, 5)))
    assert set(found) == TOP_KEYS
    assert set(found["rows"]) == {"total", "kept", "pending", *ROW_KEYS}
    assert set(found["calls"]) == CALL_KEYS
    assert set(found["cache"]) == CACHE_KEYS
    assert set(found["lots"]) == LOT_KEYS
    assert set(found["calls"]["tokens"]) == set(Usage.__struct_fields__)
    assert set(found["models"]) == {"sim/a", "sim/b"}
    assert set(found["endpoints"]) == {"at sim/a", "at sim/b"}
    for part in found["models"].values():
        assert set(part) == {"rows", "calls"}
        assert (set(part["rows"]), set(part["calls"])) == (ROW_KEYS, CALL_KEYS)
    for part in found["endpoints"].values():
        assert set(part) == {*CALL_KEYS, "limits"}
    for part in (found["rows"], found["calls"], *found["endpoints"].values()):
        assert set(part["latency_s"]) == LATENCY_KEYS
    assert set(found["job"]) == {"runs", "spend", "unseen_usd", "max_cost_usd", "left_usd"}
    assert found["job"]["spend"] == {
        "attempts": 1,
        "input_tokens": 2,
        "output_tokens": 3,
        "cost_usd": 4.0,
        "unpriced": 5,
    }


def test_the_report_says_what_it_was_told() -> None:
    found = built(Stats(), 0, runs=3, paid_again_at_most=7)
    assert found["schema"] == report.SCHEMA_VERSION == 1
    assert found["llmscale"] == __version__
    assert (found["inputs"], found["output"]) == (["in.jsonl"], "out.jsonl")
    assert found["started"] == "2026-01-02T03:04:05+00:00"
    assert (found["wall_s"], found["exit_code"]) == (2.0, 1)
    assert (found["job"]["runs"], found["paid_again_at_most"]) == (3, 7)


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
        **STORE,
    }
    assert (found["rows"]["answered"], found["rows"]["cached"]) == (3, 1)
    assert (found["calls"]["attempts"], found["calls"]["cost_usd"]) == (1, 0.5)
    assert "1 from the cache, 1 shared a call" in summary_line(found)


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
    found = json.loads(encode(built(Stats(), 0)))
    assert set(found["rows"]["latency_s"].values()) == {None}
    assert found["calls"]["cost_usd"] == 0


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("x.results.jsonl", "x.report.json"),
        ("x.jsonl", "x.report.json"),
        ("x.json", "x.report.json"),
        ("x.out", "x.out.report.json"),
        ("x", "x.report.json"),
        ("a.jsonl/x.y.results.jsonl", "a.jsonl/x.y.report.json"),
        ("x.jsonl.results.jsonl", "x.jsonl.report.json"),
        ("/abs/x.jsonl", "/abs/x.report.json"),
    ],
)
def test_the_report_lies_beside_the_output_under_its_name(output: str, path: str) -> None:
    assert default_path(Path(output)) == Path(path)


def test_the_summary_is_one_line_of_what_counts(mixed: Stats) -> None:
    line = summary_line(built(mixed, 12, wall_s=2.5, kept=4))
    assert line == (
        "7 of 12 rows answered, 2 failed, 1 cut at max_tokens, 90 tokens, at least $1.0000, 2.5 s"
    )


@pytest.mark.parametrize(
    ("costs", "dollars"),
    [
        ([], "$0"),
        ([0.0], "$0"),
        ([0.00004, 0.00004], "$0.0001"),
        ([1.5], "$1.5000"),
        ([1.5, None], "at least $1.5000"),
        ([None], "cost unknown"),
    ],
)
def test_an_unknown_price_is_never_zero_dollars(costs: list[float | None], dollars: str) -> None:
    stats = Stats()
    for cost_usd in costs:
        add_row(stats, "sim/a", cost_usd=cost_usd)
    assert summary_line(built(stats, len(costs))).split(", ")[-2] == dollars


def table(stats: Stats, total: int, monkeypatch: pytest.MonkeyPatch, **facts: Any) -> list[str]:
    """Return the lines of the table as a wide terminal shows them."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "200")
    print_table(built(stats, total, **facts))
    return stream.getvalue().splitlines()


def test_a_table_of_one_model_has_its_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    add_row(stats, "sim/a", "timeout")
    _, head, *rows = table(stats, 1, monkeypatch)
    assert " ".join(head.split()) == "model answered failed retries rows/s p50 s p99 s tokens cost"
    (row,) = rows
    name, answered, failed, retries, rate, *_, tokens, cost = row.split()
    assert (name, answered, failed, retries, rate) == ("sim/a", "1", "0", "1", "0.5")
    assert (tokens, cost) == ("30", "$0.5000")


def test_a_table_of_no_model_has_the_sum_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    add_bad_row(stats)
    shown = table(stats, 1, monkeypatch)
    assert shown[2].split()[:3] == ["all", "0", "1"]
    assert shown[3:] == ["1 rows failed: bad_row"]


def test_a_table_of_two_models_has_their_sum(mixed: Stats, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [line.split()[:4] for line in table(mixed, 5, monkeypatch)[2:5]]
    assert rows == [["sim/a", "2", "1", "3"], ["sim/b", "1", "0", "0"], ["all", "3", "2", "3"]]


@pytest.mark.parametrize(
    "model",
    ["sim/[/b]", "sim/[bold red]x", "sim/[link=http://x]y[/link]", "sim/:smile:", "sim/\\["],
)
def test_a_name_is_never_markup(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    add_row(stats, model)
    assert any(model in line for line in table(stats, 1, monkeypatch))


def test_a_name_can_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    add_row(stats, "sim/\x1b]52;c;x\x07\x9b2J\u202e")
    shown = "\n".join(table(stats, 1, monkeypatch))
    assert "sim/\ufffd]52;c;x\ufffd\ufffd2J\ufffd" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)


def test_below_the_table_stands_what_it_does_not_say(
    mixed: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_row_for_nothing(mixed, "sim/a", cached=True)
    add_row_for_nothing(mixed, "sim/a", cached=False)
    shown = table(mixed, 14, monkeypatch, kept=4, paid_again_at_most=2)
    assert shown[5:] == [
        "4 rows were answered by earlier runs",
        "1 rows came from the cache and 1 shared a call: 60 tokens and $1.0000 saved",
        "1 answers were cut at max_tokens (finish_reason length)",
        "1 rows failed: timeout",
        "1 rows failed: bad_row",
        "3 rows are pending; the same command resumes",
        "2 rows were in flight when a run died: paid again at most",
    ]


@pytest.mark.parametrize(
    ("max_cost_usd", "unseen_usd", "left_usd"),
    [(None, 0.0, None), (10.0, 0.0, 6.0), (10.0, 1.5, 4.5), (4.0, 0.0, 0.0), (3.0, 9.0, 0.0)],
)
def test_what_is_left_of_a_cap_is_what_is_neither_spent_nor_maybe_spent(
    mixed: Stats, max_cost_usd: float | None, unseen_usd: float, left_usd: float | None
) -> None:
    """All runs of the job together have spent $4."""
    found = built(mixed, 5, max_cost_usd=max_cost_usd, unseen_usd=unseen_usd)["job"]
    assert (found["max_cost_usd"], found["unseen_usd"]) == (max_cost_usd, unseen_usd)
    assert found["left_usd"] == left_usd
