"""An estimate as a whole: what is asked for it, what is kept of it, and what it says.

The models are simulated, with prices of our own; a call is what the cache's history counts.
"""

import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
from diskcache.core import DEFAULT_SETTINGS

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval
from llmscale.accounting.forecast.saved_estimate import decode
from llmscale.accounting.stats import Stats
from llmscale.commands.estimate.estimate import estimate
from llmscale.commands.estimate.result import CapCoverage, TimedBinding
from llmscale.commands.run import run
from llmscale.config import Config, EndpointConfig, PriceConfig, UserLimit
from llmscale.core.errors import BudgetReached, ConfigError, LockedError
from llmscale.engine.cache import history
from llmscale.job import manifest as manifests
from llmscale.job.job_paths import JobPaths
from llmscale.job.lock import JobLock
from llmscale.runtime.estimate_drift import drift_watch
from tests.cli.tool import write_rows
from tests.engine.cache import sql
from tests.runtime import config_here

PRICE = (PriceConfig(model="sim/*", input=1_000, output=10_000),)
CALL_USD = 16 * 0.01  # of output; every answer has 16 tokens


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 200 rows, and the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DEFAULT_SETTINGS, "sqlite_synchronous", 0)  # nobody cuts the power here
    write_rows(tmp_path / "in.jsonl", [{"prompt": f"Row {n}: {'x' * n}"} for n in range(200)])
    return tmp_path


def config(**settings: Any) -> Config:
    return config_here(**({"price": PRICE} | settings))


def told(sample: int | None = None, scale: float = 10, **settings: Any) -> Any:
    return estimate(config(**settings), sample, scale)


def report() -> Any:
    return orjson.loads(Path("in.report.json").read_bytes())


def kept() -> Any:
    found = decode(Path("in.results.jsonl.estimate.json").read_bytes())
    assert found is not None
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---- by counts alone


def test_without_a_sample_nothing_is_sent_and_no_cache_is_made(job: Path) -> None:
    found = told()
    assert found.method == "counts"
    assert found.sample is None
    assert names(job) == {"in.jsonl", "in.results.jsonl.estimate.json"}
    now = found.now
    assert (now.asked.estimate, now.output_tokens.low) == (200, 200)
    assert now.usd.estimate is None
    assert now.usd.low > 200 * 0.01
    assert now.usd.high is None
    assert found.unbounded == "its answer has no bound; set max_tokens"
    assert (now.hours.estimate, now.hours.high) == (None, None)
    assert now.hours.low > 0


def test_with_a_bound_of_answers_the_bill_lies_between_the_bounds(job: Path) -> None:
    usd = told(max_tokens=50).now.usd
    run(config(max_tokens=50))
    assert usd.low < report()["calls"]["cost_usd"] < usd.high


def test_no_key_is_needed_for_counts(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    found = told(model="openai/gpt-4.1-mini", price=(), max_tokens=100)
    assert 0 < found.now.usd.low < found.now.usd.high


def test_a_price_that_is_not_known_is_null_and_named(job: Path) -> None:
    found = told(model="openai/none-such", price=())
    assert found.unpriced == ["openai/none-such"]
    assert found.now.usd == UNKNOWN


# ---- by a sample


def test_a_sample_is_asked_and_the_run_pays_nothing_for_it_again(job: Path) -> None:
    found = told(sample=20)
    assert found.method == "sample"
    assert (found.sample.rows, found.sample.attempts) == (20, 20)
    assert found.sample.kept == 20
    assert found.sample.cost_usd == pytest.approx(20 * CALL_USD, rel=0.5)
    now = found.now
    assert now.asked == Interval(180, 180, 180)
    assert now.output_tokens.estimate == 180 * 16
    assert run(config()).exit_code == 0
    calls = report()["calls"]
    assert calls["attempts"] == 180
    assert now.usd.low <= calls["cost_usd"] <= now.usd.high
    assert now.input_tokens.low <= calls["tokens"]["input_tokens"]
    assert calls["tokens"]["input_tokens"] <= now.input_tokens.high


def test_the_same_sample_is_drawn_again_and_costs_nothing(job: Path) -> None:
    first, second = told(sample=20), told(sample=20)
    assert second.sample.attempts == 0
    assert second.sample.cost_usd == 0
    for one, other in ((first.now, second.now), (first.scaled, second.scaled)):
        assert (one.asked, one.output_tokens, one.usd) == (
            other.asked,
            other.output_tokens,
            other.usd,
        )
    assert second.rows.cached == 20
    assert first.sample.latency_s == second.sample.latency_s


def test_what_a_sample_has_told_is_used_without_asking_again(job: Path) -> None:
    first = told(sample=20)
    runs = len(list(history.runs(job / "cache")))
    later = told()
    assert later.method == "sample"
    assert later.now.usd == first.now.usd
    assert later.sample.attempts == 0
    assert len(list(history.runs(job / "cache"))) == runs
    assert told(sample=0).method == "counts"


def test_of_another_job_nothing_is_used(job: Path) -> None:
    told(sample=20)
    assert told(system="Be brief.").method == "counts"


def test_the_sample_is_of_all_sizes_and_of_every_model(job: Path) -> None:
    rows = [{"prompt": "x" * n, "model": "b" if n % 50 == 1 else "a"} for n in range(1, 201)]
    write_rows(job / "in.jsonl", rows)
    told(sample=20)
    indexes = [o.index for o in kept().sample.observations]
    assert sum(rows[i]["model"] == "b" for i in indexes) == 2
    thirds = {i // 67 for i in indexes}
    assert thirds == {0, 1, 2}


def test_the_use_of_the_cache_is_in_its_history(job: Path) -> None:
    told(sample=20)
    (one,) = history.runs(job / "cache")
    assert (one.output, one.stored) == ("in.results.jsonl", 20)


def test_looking_what_is_stored_counts_as_no_use(job: Path) -> None:
    run(config())
    runs = len(list(history.runs(job / "cache")))
    uses = "SELECT key, access_time, access_count, value FROM Cache ORDER BY key"
    before = sql(job / "cache", uses)
    Path("in.results.jsonl.job.json").unlink()
    Path("in.results.jsonl").unlink()
    found = told()
    assert found.rows.cached == 200
    assert found.saved.cache.usd == pytest.approx(report()["calls"]["cost_usd"])
    assert len(list(history.runs(job / "cache"))) == runs
    assert sql(job / "cache", uses) == before


def test_rows_that_ask_the_same_are_paid_once(job: Path) -> None:
    write_rows(job / "in.jsonl", [{"prompt": f"{n % 50}"} for n in range(200)])
    found = told(sample=10)
    assert found.rows.repeated == 150
    assert found.saved.repeats.usd == pytest.approx(150 * CALL_USD, rel=0.5)
    run(config())
    assert report()["calls"]["attempts"] == found.now.asked.estimate == 40


@pytest.mark.parametrize("mode", ["off", "read", "write", "refresh"])
def test_where_a_run_does_not_find_the_answers_it_pays_for_them_again(job: Path, mode: str) -> None:
    found = told(sample=20, cache_mode=mode)
    assert found.now.asked.estimate == 200
    run(config(cache_mode=mode))
    assert report()["calls"]["attempts"] == 200


def test_answers_that_are_cut_are_not_kept_and_counted_again(job: Path) -> None:
    found = told(sample=20, max_tokens=5)
    assert (found.sample.truncated, found.sample.kept) == (20, 0)
    assert found.now.asked.estimate == 200


def test_failures_of_the_sample_are_counted_with_their_share(job: Path) -> None:
    model = "sim/error_rate=0.5,seed=3"
    found = told(sample=30, model=model, max_attempts=1)
    sample = found.sample
    assert 5 < sample.failed < 25
    assert sample.failures == {"server_error": sample.failed}
    share = sample.failed_share
    assert share.estimate == pytest.approx(sample.failed / 30, abs=1e-6)
    assert share.low < 0.5 < share.high


def test_retries_of_the_sample_are_expected_of_the_run(job: Path) -> None:
    found = told(sample=40, model="sim/error_rate=0.3,seed=3", rpm=6_000)
    binds = next(b for b in found.now.bounds if b.budget == "rpm")
    attempts = found.sample.attempts
    assert attempts > 40
    expected = (160 * attempts / 40 - 60) / 6_000 / 60
    assert binds.hours == pytest.approx(expected, rel=0.02)


def test_where_no_row_was_answered_nothing_is_told_by_the_sample(job: Path) -> None:
    found = told(sample=5, model="sim/error_rate=1", max_attempts=1)
    assert (found.method, found.sample) == ("counts", None)


def test_what_a_sample_has_told_is_not_given_up_for_less(job: Path) -> None:
    told(sample=20)
    told(sample=0)
    told(sample=5, timeout=1e-9, max_attempts=1, cache_mode="off")
    assert len(kept().sample.observations) == 20


def test_the_cap_holds_for_the_sample(job: Path) -> None:
    with pytest.raises(BudgetReached):
        told(sample=50, max_cost=5.0, max_tokens=100, concurrency=1)
    (one,) = history.runs(job / "cache")
    assert 0 < one.stored < 50


def test_users_wait_for_their_limits_in_the_sample_too(job: Path) -> None:
    rows = [{"prompt": f"{n}", "user": f"u{n % 2}"} for n in range(20)]
    write_rows(job / "in.jsonl", rows)
    found = told(sample=4, limits_user=UserLimit(rpm=6_000))
    assert found.sample.rows == 4
    assert found.now.binds.scope in ("user", "endpoint", "run")


def test_a_sample_larger_than_the_input_is_all_of_it(job: Path) -> None:
    found = told(sample=1_000)
    assert found.sample.rows == 200
    assert found.now.usd == NOTHING
    assert found.scaled.usd.estimate > 200 * 10 * CALL_USD


# ---- what is left of a job


def test_rows_that_have_an_answer_in_the_output_are_left_out(job: Path) -> None:
    run(config(limit=50, cache_mode="off"))
    found = told(cache_mode="off")
    assert found.rows.answered == 50
    assert found.now.rows == found.now.asked.estimate == 150
    assert found.scaled.rows == 2_000


def test_a_sample_does_not_ask_what_is_answered(job: Path) -> None:
    run(config(limit=190, cache_mode="off"))
    found = told(sample=50, cache_mode="off")
    assert {o.index for o in kept().sample.observations} <= set(range(190, 200))
    assert found.now.asked.estimate == 10, "without a cache they are asked again"


def test_of_a_finished_job_more_rows_are_told_by_the_sample_that_was(job: Path) -> None:
    told(sample=20)
    run(config())
    found = told(sample=20)
    assert found.sample.attempts == 0
    assert found.now.usd.high == 0
    assert found.scaled.usd.estimate == pytest.approx(
        10 * (report()["calls"]["cost_usd"] + 20 * CALL_USD), rel=0.2
    )


def test_the_job_may_be_running(job: Path) -> None:
    files = JobPaths(Path("in.results.jsonl"))
    lock = JobLock(files.lock)
    try:
        assert told().method == "counts"
        with pytest.raises(LockedError):
            run(config())
    finally:
        lock.release()


def test_a_limit_of_rows_holds(job: Path) -> None:
    assert told(limit=30).rows.total == 30


# ---- money and time


@pytest.mark.parametrize(("max_cost", "covers"), [(1.0, False), (1_000.0, True), (31.0, None)])
def test_a_cap_covers_the_run_or_not_or_nobody_is_sure(
    job: Path, max_cost: float, covers: bool | None
) -> None:
    rows = [{"prompt": f"{n} {'x' * (n % 7) * 400}"} for n in range(200)]
    write_rows(job / "in.jsonl", rows)
    told(sample=20)
    usd = told().now.usd
    cap = (usd.low + usd.high) / 2 if covers is None else max_cost
    found = told(max_cost=cap, max_tokens=None)
    left: Any = pytest.approx(cap)
    assert found.max_cost == CapCoverage(cap, left, covers)


def test_of_a_cap_what_the_job_has_spent_is_gone(job: Path) -> None:
    run(config(limit=50))
    spent_usd = report()["job"]["spend"]["cost_usd"]
    assert told(max_cost=100.0).max_cost.left_usd == pytest.approx(100 - spent_usd)


def test_of_a_cap_what_a_run_has_spent_that_is_not_finished_is_gone(job: Path) -> None:
    assert isinstance(run(config(max_cost=5.0, max_tokens=100)).error, BudgetReached)
    spent_usd = report()["job"]["spend"]["cost_usd"]
    assert 0 < spent_usd < 5
    found = told(max_cost=50.0, max_tokens=100)
    assert found.max_cost.left_usd == pytest.approx(50 - spent_usd)
    assert found.rows.answered == report()["rows"]["answered"]


def test_what_binds_is_told_now_and_scaled(job: Path) -> None:
    found = told(rpm=60)
    hours: Any = pytest.approx(199 / 3_600, rel=0.01)
    assert found.now.binds == TimedBinding("endpoint", "sim/a", "rpm", hours)
    assert found.scaled.hours.low == pytest.approx(2_000 / 3_600, rel=0.01)


def test_nothing_binds_that_is_not_set_or_known(job: Path) -> None:
    assert told().now.binds is None


def test_calls_in_flight_bind_where_calls_take_long(job: Path) -> None:
    found = told(sample=20, model="sim/latency=0.1", concurrency=2)
    assert found.now.binds.budget == "concurrency"
    hours = found.now.hours
    assert hours.low <= 180 * 0.1 / 2 / 3600 + 0.2 / 3600 + 1e-4
    assert hours.low < hours.estimate < hours.high


def test_endpoints_with_other_prices_are_told_apart_by_who_answered(job: Path) -> None:
    pool = (EndpointConfig(model="sim/a"), EndpointConfig(model="sim/b"))
    prices = (
        PriceConfig(model="sim/a", input=0, output=1e6 / 16),
        PriceConfig(model="sim/b", input=0, output=5e6 / 16),
    )
    write_rows(
        job / "in.jsonl", [{"prompt": f"{n}", "model": f"sim/{'ab'[n % 2]}"} for n in range(40)]
    )
    found = told(sample=8, endpoint=pool, price=prices)
    assert found.models["sim/a"].usd.estimate == pytest.approx(16)
    assert found.models["sim/b"].usd.estimate == pytest.approx(16 * 5)


# ---- what is kept


def test_it_is_kept_beside_the_output_for_its_owner_alone(job: Path) -> None:
    told(sample=20, output="out.jsonl")
    path = job / "out.jsonl.estimate.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    raw = path.read_bytes()
    assert b"Row 7" not in raw
    assert b"A:" not in raw


def test_a_stream_keeps_nothing(job: Path) -> None:
    found = told(output="-")
    assert found.output == "-"
    assert names(job) == {"in.jsonl"}


def test_standard_input_can_be_estimated(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (job / "in.jsonl").open("rb") as file:
        saved = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            with os.fdopen(0, "rb", closefd=False) as stdin:
                monkeypatch.setattr("sys.stdin", _Stdin(stdin))
                found = told(sample=10, inputs=("-",))
        finally:
            os.dup2(saved, 0)
            os.close(saved)
    assert found.rows.total == 200
    assert found.output == "stdin.results.jsonl"


class _Stdin:
    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def isatty(self) -> bool:
        return False


def test_a_run_is_held_against_the_estimate_of_its_job(job: Path) -> None:
    found = told(sample=20)
    run(config())
    held = report()["estimate"]
    assert held["usd"] == pytest.approx(found.now.usd.estimate)
    assert held["projected_usd"] == pytest.approx(report()["calls"]["cost_usd"])
    assert held["drift"] == []


def test_a_run_without_an_estimate_is_held_against_nothing(job: Path) -> None:
    run(config())
    assert report()["estimate"] is None


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff"])
def test_a_damaged_estimate_is_none(job: Path, raw: bytes) -> None:
    Path("in.results.jsonl.estimate.json").write_bytes(raw)
    assert told().method == "counts"
    Path("in.results.jsonl.estimate.json").write_bytes(raw)
    assert run(config()).exit_code == 0
    assert report()["estimate"] is None


@pytest.mark.parametrize(
    ("estimated", "ran", "watched"),
    [(None, 50, True), (100, 50, True), (50, 50, True), (50, 100, False), (50, None, False)],
)
def test_a_run_of_more_rows_than_were_estimated_is_held_against_nothing(
    job: Path, estimated: int | None, ran: int | None, watched: bool
) -> None:
    told(limit=estimated)
    run(config(limit=ran))
    assert (report()["estimate"] is not None) == watched


def test_only_the_settings_that_change_answers_have_to_be_the_same(job: Path) -> None:
    told(sample=20)
    run(config(output_format="openai-batch", concurrency=3))
    found = manifests.load(Path("in.results.jsonl.job.json"))
    assert found is not None
    files = JobPaths(Path("in.results.jsonl"))
    assert drift_watch(files, found, Stats()) is not None


def test_what_a_run_would_refuse_is_refused(job: Path) -> None:
    with pytest.raises(ConfigError, match="no input"):
        told(inputs=("none.jsonl",))
    write_rows(job / "in.jsonl", [{"id": 1, "prompt": "a"}, {"id": 1, "prompt": "b"}])
    with pytest.raises(ConfigError, match="two different rows"):
        told()
    write_rows(job / "other.jsonl", [])
    with pytest.raises(ConfigError, match="need one output"):
        told(inputs=("in.jsonl", "other.jsonl"))
