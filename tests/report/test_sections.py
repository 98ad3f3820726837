"""The tables of a report: what is in them, and that empty ones are left out."""

from typing import Any

from llmscale.accounting.stats import Stats
from llmscale.core.records import Failure, Outcome, Row
from llmscale.report import sections as made
from llmscale.report.sections import Section
from tests.report import STORE, add_row, add_row_for_nothing, built, mixed_stats, typed


def sections(report: Any, baseline: Any = None) -> list[Section]:
    return made.sections(typed(report), None if baseline is None else typed(baseline))


def titled(found: list[Section], title: str) -> Section:
    return next(section for section in found if section.title == title)


def cells(section: Section, name: str) -> list[str]:
    column = section.columns.index(name)
    return [row[column] for row in section.rows]


def test_a_run_of_nothing_has_only_its_time() -> None:
    assert [s.title for s in sections(built(Stats(), 0))] == ["What held the run back"]


def test_each_model_and_each_endpoint_has_a_line() -> None:
    found = sections(built(mixed_stats(), 5))
    assert cells(titled(found, "Models"), "model") == ["sim/a", "sim/b"]
    assert cells(titled(found, "Models"), "answered") == ["2", "1"]
    endpoints = titled(found, "Endpoints")
    assert cells(endpoints, "endpoint") == ["at sim/a", "at sim/b"]
    assert cells(endpoints, "calls") == ["5", "1"]
    assert cells(endpoints, "retries") == ["2", "0"]
    assert cells(endpoints, "429") == ["1", "0"]
    assert cells(endpoints, "cost") == ["$1.0000", "cost unknown"]


def test_a_column_that_says_nothing_is_left_out() -> None:
    endpoints = titled(sections(built(mixed_stats(), 5)), "Endpoints")
    assert not {"trips", "rpm", "tpm", "adaptive rpm"} & set(endpoints.columns)
    assert all(len(row) == len(endpoints.columns) for row in endpoints.rows)


def test_of_two_limits_the_lower_is_shown() -> None:
    stats = Stats()
    add_row(stats, "sim/a")
    report = built(stats, 1)
    report["endpoints"]["at sim/a"]["limits"] = {
        "rpm": 600.0,
        "provider_rpm": 500.0,
        "tpm": None,
        "provider_tpm": 9000.0,
        "adaptive_rpm": 480.4,
    }
    endpoints = titled(sections(report), "Endpoints")
    limits = [cells(endpoints, name) for name in ("rpm", "tpm", "adaptive rpm")]
    assert limits == [["500"], ["9,000"], ["480"]]


def test_failures_are_shares_of_all_rows_and_of_all_calls() -> None:
    found = sections(built(mixed_stats(), 5))
    assert titled(found, "Failed rows").rows == [
        ["timeout", "1", "20.0 %"],
        ["bad_row", "1", "20.0 %"],
    ]
    assert ["timeout", "2", "33.3 %"] in titled(found, "Failed calls").rows


def test_users_beyond_the_dearest_are_one_line() -> None:
    stats = Stats()
    failure = Failure(kind="bad_row", message="")
    for number in range(25):
        row = Row(index=number, user=f"u{number:02}", failure=failure)
        stats.add_outcome(Outcome(row=row, failure=failure))
    users = titled(sections(built(stats, 25)), "Users")
    assert len(users.rows) == 21
    assert users.rows[-1][0] == "all others"
    assert cells(users, "rows")[-1] == "5"


def test_what_the_cache_saved_is_told_apart_from_what_sharing_saved() -> None:
    stats = Stats()
    add_row_for_nothing(stats, "sim/a", cached=True)
    stats.add_lookup("sim/a", hit=True)
    cache = titled(sections(built(stats, 1, store=STORE)), "Cache")
    assert cache.rows[0] == ["hit rate", "100.0 %", "1 of 1 look-ups"]
    assert ["saved by the cache", "$0.5000", "30 tokens"] in cache.rows
    assert "saved by shared calls" not in [row[0] for row in cache.rows]
    assert ["refused", "4", ""] in cache.rows


def test_what_held_the_run_back_longest_comes_first() -> None:
    held = sections(built(Stats(), 0, wall_s=2.0, held_s={"tokens": 0.5, "requests": 1.0}))
    assert titled(held, "What held the run back").rows == [
        ["requests", "1.000", "50.0 %"],
        ["tokens", "0.500", "25.0 %"],
        ["end", "0.500", "25.0 %"],
    ]


def test_beside_a_baseline_the_figures_of_both_come_first() -> None:
    report = built(mixed_stats(), 5)
    first, *_ = sections(report, report)
    assert first.title == "Beside the baseline"
    assert ["rows", "5", "5", "1.00x"] in first.rows


def test_the_estimate_stands_beside_what_the_run_comes_to() -> None:
    report = built(mixed_stats(), 5)
    assert "Beside the estimate" not in [s.title for s in sections(report)]
    known = {"usd": 1.0, "usd_low": 0.5, "usd_high": None, "projected_usd": 2.0}
    times = {"hours": 0.5, "hours_low": 0.25, "hours_high": 1.0, "projected_hours": 0.1}
    report["estimate"] = {**known, **times, "drift": ["hours"]}
    assert titled(sections(report), "Beside the estimate").rows == [
        ["cost", "$1.0000", "$0.5000", "unknown", "$2.0000", "within"],
        ["time", "30.0 min", "15.0 min", "60.0 min", "6.0 min", "outside"],
    ]


def test_rules_that_have_tripped_are_told_with_their_numbers() -> None:
    report = built(mixed_stats(), 5)
    known = {"decides": True, "fails": True, "value": 0.05, "value_at_end": 0.25}
    report["alerts"] = [{"rule": "errors>1%", "tripped_at_s": 2.0, **known}]
    assert titled(sections(report), "Alerts").rows == [
        ["errors>1%", "fails", "2.000", "0.05", "0.25"]
    ]


def test_of_documents_is_told_what_was_read_and_what_was_left_out() -> None:
    counts = {"files": 12, "failed": 1, "complete": 11, "chunks": 40}
    report = built(mixed_stats(), 5)
    report["documents"] = {**counts, "skipped": {"binary": 3}}
    documents = titled(sections(report), "Documents")
    assert documents.rows[0] == ["files", "12"]
    assert documents.rows[-1] == ["left out: binary", "3"]
