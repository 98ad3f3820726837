"""An estimate as a whole: what it sends, what it saves, and its result. Models are simulated."""

import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

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
from tests.runtime import config_here

PRICE = (PriceConfig(model="sim/*", input=1_000, output=10_000),)
CALL_USD = 16 * 0.01  # of output; every answer has 16 tokens


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with 200 rows in `in.jsonl`."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "in.jsonl", [{"prompt": f"Row {n}: {'x' * n}"} for n in range(200)])
    return tmp_path


def config(**settings: Any) -> Config:
    return config_here(**({"price": PRICE} | settings))


def estimated(sample: int | None = None, scale: float = 10, **settings: Any) -> Any:
    return estimate(config(**settings), sample, scale)


def report() -> Any:
    return orjson.loads(Path("in.report.json").read_bytes())


def saved() -> Any:
    found = decode(Path("in.results.jsonl.estimate.json").read_bytes())
    assert found is not None
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---- from counts alone


def test_without_a_sample_nothing_is_sent_and_no_cache_is_created(job: Path) -> None:
    found = estimated()
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


def test_with_max_tokens_the_cost_is_within_the_bounds(job: Path) -> None:
    usd = estimated(max_tokens=50).now.usd
    run(config(max_tokens=50))
    assert usd.low < report()["calls"]["cost_usd"] < usd.high


def test_no_key_is_needed_for_counts(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    found = estimated(model="openai/gpt-4.1-mini", price=(), max_tokens=100)
    assert 0 < found.now.usd.low < found.now.usd.high


def test_an_unknown_price_makes_the_cost_unknown_and_names_the_model(job: Path) -> None:
    found = estimated(model="openai/none-such", price=())
    assert found.unpriced == ["openai/none-such"]
    assert found.now.usd == UNKNOWN


# ---- from a sample


def test_the_run_pays_nothing_for_the_rows_of_the_sample(job: Path) -> None:
    found = estimated(sample=20)
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


def test_a_second_sample_draws_the_same_rows_and_costs_nothing(job: Path) -> None:
    first, second = estimated(sample=20), estimated(sample=20)
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


def test_an_earlier_sample_is_used_without_sending_anything(job: Path) -> None:
    first = estimated(sample=20)
    runs = len(list(history.runs(job / "cache")))
    later = estimated()
    assert later.method == "sample"
    assert later.now.usd == first.now.usd
    assert later.sample.attempts == 0
    assert len(list(history.runs(job / "cache"))) == runs
    assert estimated(sample=0).method == "counts"


def test_the_sample_of_another_job_is_not_used(job: Path) -> None:
    estimated(sample=20)
    assert estimated(system="Be brief.").method == "counts"


def test_a_sample_has_rows_of_all_sizes_and_models(job: Path) -> None:
    rows = [{"prompt": "x" * n, "model": "b" if n % 50 == 1 else "a"} for n in range(1, 201)]
    write_rows(job / "in.jsonl", rows)
    estimated(sample=20)
    indexes = [o.index for o in saved().sample.observations]
    assert sum(rows[i]["model"] == "b" for i in indexes) == 2
    thirds = {i // 67 for i in indexes}
    assert thirds == {0, 1, 2}


def test_a_sample_is_in_the_history_of_the_cache(job: Path) -> None:
    estimated(sample=20)
    (one,) = history.runs(job / "cache")
    assert (one.output, one.stored) == ("in.results.jsonl", 20)


def test_cached_answers_are_savings(job: Path) -> None:
    run(config())
    Path("in.results.jsonl.job.json").unlink()
    Path("in.results.jsonl").unlink()
    found = estimated()
    assert found.rows.cached == 200
    assert found.saved.cache.usd == pytest.approx(report()["calls"]["cost_usd"])


def test_repeated_requests_are_paid_once(job: Path) -> None:
    write_rows(job / "in.jsonl", [{"prompt": f"{n % 50}"} for n in range(200)])
    found = estimated(sample=10)
    assert found.rows.repeated == 150
    assert found.saved.repeats.usd == pytest.approx(150 * CALL_USD, rel=0.5)
    run(config())
    assert report()["calls"]["attempts"] == found.now.asked.estimate == 40


@pytest.mark.parametrize("mode", ["off", "read", "write", "refresh"])
def test_unless_the_cache_is_on_the_run_pays_for_the_sampled_rows_again(
    job: Path, mode: str
) -> None:
    found = estimated(sample=20, cache_mode=mode)
    assert found.now.asked.estimate == 200
    run(config(cache_mode=mode))
    assert report()["calls"]["attempts"] == 200


def test_truncated_answers_are_not_cached_and_count_as_rows_to_send(job: Path) -> None:
    found = estimated(sample=20, max_tokens=5)
    assert (found.sample.truncated, found.sample.kept) == (20, 0)
    assert found.now.asked.estimate == 200


def test_failures_of_the_sample_are_counted_with_their_share(job: Path) -> None:
    model = "sim/error_rate=0.5,seed=3"
    found = estimated(sample=30, model=model, max_attempts=1)
    sample = found.sample
    assert 5 < sample.failed < 25
    assert sample.failures == {"server_error": sample.failed}
    share = sample.failed_share
    assert share.estimate == pytest.approx(sample.failed / 30, abs=1e-6)
    assert share.low < 0.5 < share.high


def test_the_retries_of_the_sample_are_expected_in_the_run(job: Path) -> None:
    found = estimated(sample=40, model="sim/error_rate=0.3,seed=3", rpm=6_000)
    binds = next(b for b in found.now.bounds if b.budget == "rpm")
    attempts = found.sample.attempts
    assert attempts > 40
    expected = (160 * attempts / 40 - 60) / 6_000 / 60
    assert binds.hours == pytest.approx(expected, rel=0.02)


def test_a_sample_without_answers_leaves_an_estimate_from_counts(job: Path) -> None:
    found = estimated(sample=5, model="sim/error_rate=1", max_attempts=1)
    assert (found.method, found.sample) == ("counts", None)


def test_a_saved_sample_is_not_replaced_by_counts_or_by_a_failed_sample(job: Path) -> None:
    estimated(sample=20)
    estimated(sample=0)
    estimated(sample=5, timeout=1e-9, max_attempts=1, cache_mode="off")
    assert len(saved().sample.observations) == 20


def test_the_cap_applies_to_the_sample(job: Path) -> None:
    with pytest.raises(BudgetReached):
        estimated(sample=50, max_cost=5.0, max_tokens=100, concurrency=1)
    (one,) = history.runs(job / "cache")
    assert 0 < one.stored < 50


def test_a_sample_works_with_user_limits(job: Path) -> None:
    rows = [{"prompt": f"{n}", "user": f"u{n % 2}"} for n in range(20)]
    write_rows(job / "in.jsonl", rows)
    found = estimated(sample=4, limits_user=UserLimit(rpm=6_000))
    assert found.sample.rows == 4


def test_a_sample_larger_than_the_input_sends_all_rows(job: Path) -> None:
    found = estimated(sample=1_000)
    assert found.sample.rows == 200
    assert found.now.usd == NOTHING
    assert found.scaled.usd.estimate > 200 * 10 * CALL_USD


# ---- what is left of a job


def test_answered_rows_are_not_estimated_again(job: Path) -> None:
    run(config(limit=50, cache_mode="off"))
    found = estimated(cache_mode="off")
    assert found.rows.answered == 50
    assert found.now.rows == found.now.asked.estimate == 150
    assert found.scaled.rows == 2_000


def test_a_sample_sends_no_answered_rows(job: Path) -> None:
    run(config(limit=190, cache_mode="off"))
    found = estimated(sample=50, cache_mode="off")
    assert {o.index for o in saved().sample.observations} <= set(range(190, 200))
    assert found.now.asked.estimate == 10, "without a cache they are sent again"


def test_a_finished_job_is_scaled_by_its_earlier_sample(job: Path) -> None:
    estimated(sample=20)
    run(config())
    found = estimated(sample=20)
    assert found.sample.attempts == 0
    assert found.now.usd.high == 0
    assert found.scaled.usd.estimate == pytest.approx(
        10 * (report()["calls"]["cost_usd"] + 20 * CALL_USD), rel=0.2
    )


def test_a_running_job_can_be_estimated(job: Path) -> None:
    files = JobPaths(Path("in.results.jsonl"))
    lock = JobLock(files.lock)
    try:
        assert estimated().method == "counts"
        with pytest.raises(LockedError):
            run(config())
    finally:
        lock.release()


def test_limit_applies(job: Path) -> None:
    assert estimated(limit=30).rows.total == 30


# ---- money and time


@pytest.mark.parametrize(("max_cost", "covers"), [(1.0, False), (1_000.0, True), (31.0, None)])
def test_a_cap_covers_the_run_or_not_or_it_is_uncertain(
    job: Path, max_cost: float, covers: bool | None
) -> None:
    rows = [{"prompt": f"{n} {'x' * (n % 7) * 400}"} for n in range(200)]
    write_rows(job / "in.jsonl", rows)
    estimated(sample=20)
    usd = estimated().now.usd
    cap = (usd.low + usd.high) / 2 if covers is None else max_cost
    found = estimated(max_cost=cap, max_tokens=None)
    left: Any = pytest.approx(cap)
    assert found.max_cost == CapCoverage(cap, left, covers)


def test_spending_of_earlier_runs_reduces_the_cap(job: Path) -> None:
    run(config(limit=50))
    spent_usd = report()["job"]["spend"]["cost_usd"]
    assert estimated(max_cost=100.0).max_cost.left_usd == pytest.approx(100 - spent_usd)


def test_spending_of_an_unfinished_run_reduces_the_cap(job: Path) -> None:
    assert isinstance(run(config(max_cost=5.0, max_tokens=100)).error, BudgetReached)
    spent_usd = report()["job"]["spend"]["cost_usd"]
    assert 0 < spent_usd < 5
    found = estimated(max_cost=50.0, max_tokens=100)
    assert found.max_cost.left_usd == pytest.approx(50 - spent_usd)
    assert found.rows.answered == report()["rows"]["answered"]


def test_the_binding_limit_is_named_now_and_scaled(job: Path) -> None:
    found = estimated(rpm=60)
    hours: Any = pytest.approx(199 / 3_600, rel=0.01)
    assert found.now.binds == TimedBinding("endpoint", "sim/a", "rpm", hours)
    assert found.scaled.hours.low == pytest.approx(2_000 / 3_600, rel=0.01)


def test_without_limits_nothing_binds(job: Path) -> None:
    assert estimated().now.binds is None


def test_concurrency_binds_if_calls_are_slow(job: Path) -> None:
    found = estimated(sample=20, model="sim/latency=0.1", concurrency=2)
    assert found.now.binds.budget == "concurrency"
    hours = found.now.hours
    assert hours.low <= 180 * 0.1 / 2 / 3600 + 0.2 / 3600 + 1e-4
    assert hours.low < hours.estimate < hours.high


def test_answers_are_priced_at_the_endpoint_that_gave_them(job: Path) -> None:
    pool = (EndpointConfig(model="sim/a"), EndpointConfig(model="sim/b"))
    prices = (
        PriceConfig(model="sim/a", input=0, output=1e6 / 16),
        PriceConfig(model="sim/b", input=0, output=5e6 / 16),
    )
    write_rows(
        job / "in.jsonl", [{"prompt": f"{n}", "model": f"sim/{'ab'[n % 2]}"} for n in range(40)]
    )
    found = estimated(sample=8, endpoint=pool, price=prices)
    assert found.models["sim/a"].usd.estimate == pytest.approx(16)
    assert found.models["sim/b"].usd.estimate == pytest.approx(16 * 5)


# ---- what is saved


def test_the_saved_estimate_is_private_and_has_no_row_text(job: Path) -> None:
    estimated(sample=20, output="out.jsonl")
    path = job / "out.jsonl.estimate.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    raw = path.read_bytes()
    assert b"Row 7" not in raw
    assert b"A:" not in raw


def test_standard_output_saves_nothing(job: Path) -> None:
    found = estimated(output="-")
    assert found.output == "-"
    assert names(job) == {"in.jsonl"}


def test_standard_input_can_be_estimated(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (job / "in.jsonl").open("rb") as file:
        saved = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            with os.fdopen(0, "rb", closefd=False) as stdin:
                monkeypatch.setattr("sys.stdin", _Stdin(stdin))
                found = estimated(sample=10, inputs=("-",))
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


def test_a_run_is_compared_with_its_estimate(job: Path) -> None:
    found = estimated(sample=20)
    run(config())
    held = report()["estimate"]
    assert held["usd"] == pytest.approx(found.now.usd.estimate)
    assert held["projected_usd"] == pytest.approx(report()["calls"]["cost_usd"])
    assert held["drift"] == []


def test_a_damaged_estimate_counts_as_none(job: Path) -> None:
    Path("in.results.jsonl.estimate.json").write_bytes(b"\xff")
    assert run(config()).exit_code == 0
    assert report()["estimate"] is None
    assert estimated().method == "counts"


@pytest.mark.parametrize(
    ("limit", "ran", "compared"),
    [(None, 50, True), (50, 50, True), (50, 100, False), (50, None, False)],
)
def test_a_run_of_more_rows_than_estimated_is_not_compared(
    job: Path, limit: int | None, ran: int | None, compared: bool
) -> None:
    estimated(limit=limit)
    run(config(limit=ran))
    assert (report()["estimate"] is not None) == compared


def test_a_run_with_other_settings_that_change_no_answer_is_compared(job: Path) -> None:
    estimated(sample=20)
    run(config(output_format="openai-batch", concurrency=3))
    found = manifests.load(Path("in.results.jsonl.job.json"))
    assert found is not None
    files = JobPaths(Path("in.results.jsonl"))
    assert drift_watch(files, found, Stats()) is not None


def test_what_a_run_would_refuse_is_refused(job: Path) -> None:
    with pytest.raises(ConfigError, match="no input"):
        estimated(inputs=("none.jsonl",))
    write_rows(job / "in.jsonl", [{"id": 1, "prompt": "a"}, {"id": 1, "prompt": "b"}])
    with pytest.raises(ConfigError, match="two different rows"):
        estimated()
    write_rows(job / "other.jsonl", [])
    with pytest.raises(ConfigError, match="need one output"):
        estimated(inputs=("in.jsonl", "other.jsonl"))
