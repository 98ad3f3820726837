"""The checklist of a job, check by check: yes, no or unknown, with evidence and a fix."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from llmscale.cli.command_line import command_line
from llmscale.commands.estimate.estimate import estimate
from llmscale.commands.plan.plan import PlanResult, plan
from llmscale.commands.run import run
from llmscale.config import Config, EndpointConfig, PriceConfig, UserLimit
from tests.cli.tool import write_rows
from tests.runtime import config_here

PRICE = (PriceConfig(model="*/*", input=1, output=10),)
OWN = "http://127.0.0.1:1/v1"
REQUIRED = ["load", "bottleneck", "baseline", "cost", "cache", "limits", "overload"]
ADVICE = [
    "machines",
    "balancing",
    "storage",
    "cap",
    "alerts",
    "rollout",
    "rollback",
    "verified",
]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with 40 rows in `in.jsonl`."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "in.jsonl", [{"prompt": f"Row {n}"} for n in range(40)])
    return tmp_path


def config(**settings: Any) -> Config:
    return config_here(**({"price": PRICE} | settings))


def command(name: str, **flags: Any) -> str:
    return command_line(name, {"inputs": ["in.jsonl"]}, **flags)


def planned(scale: float = 10, hours: float = 8, **settings: Any) -> PlanResult:
    return plan(config(**settings), command, scale, hours)


def line(
    name: str, scale: float = 10, hours: float = 8, **settings: Any
) -> tuple[str, str, str | None]:
    """Return the answer, the evidence and the command of a check."""
    found = planned(scale, hours, **settings)
    (one,) = (check for check in found.lines if check.name == name)
    return one.answer, one.evidence, one.command


def edit_report(**fields: Any) -> None:
    """Change fields of the report of the earlier run."""
    path = Path("in.report.json")
    report = orjson.loads(path.read_bytes())
    for name, value in fields.items():
        report[name] = report[name] | value if isinstance(value, dict) else value
    path.write_bytes(orjson.dumps(report))


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_checklist_has_required_checks_and_advice(job: Path) -> None:
    found = planned()
    names = {
        required: [one.name for one in found.lines if one.required is required]
        for required in (True, False)
    }
    assert names == {True: REQUIRED, False: ADVICE}
    assert all(one.answer in ("yes", "no", "unknown") for one in found.lines)
    assert all(one.evidence for one in found.lines)


def test_a_plan_writes_nothing(job: Path) -> None:
    before = files(job)
    planned(model="openai/m", base_url=OWN)
    assert files(job) == before


def test_a_job_is_ready_if_no_required_check_fails(job: Path) -> None:
    assert not planned().ready, "there is no baseline"
    run(config())
    found = planned()
    assert found.ready
    assert any(one.answer == "no" for one in found.lines), "advice does not count"


# ---- required


def test_load_is_unknown_from_counts_without_limits(job: Path) -> None:
    answer, evidence, todo = line("load")
    assert (answer, todo) == ("unknown", "llmscale estimate in.jsonl --sample 50")
    assert evidence.startswith("10x takes at least")


def test_load_fails_if_the_limits_alone_take_longer(job: Path) -> None:
    answer, evidence, todo = line("load", hours=0.1, rpm=30)
    assert answer == "no"
    assert "limited by requests/min of sim/a" in evidence
    assert todo == "llmscale run in.jsonl --rpm 67", "400 rows in six minutes"


def test_load_has_no_fix_if_no_flag_raises_the_limit(job: Path) -> None:
    rows = [{"prompt": f"{n}", "user": "u"} for n in range(40)]
    write_rows(job / "in.jsonl", rows)
    answer, _, todo = line("load", hours=0.1, limits_user=UserLimit(rpm=10))
    assert (answer, todo) == ("no", None)


def test_load_passes_with_a_sample(job: Path) -> None:
    estimate(config(), 10)
    assert line("load")[::2] == ("yes", None)


def test_load_uses_the_pace_of_an_earlier_run(job: Path) -> None:
    run(config())
    answer, evidence, _ = line("load")
    assert answer == "yes"
    assert evidence.endswith("at the pace of the earlier run")
    edit_report(wall_s=3_600.0)
    assert line("load", hours=5)[0] == "no"


def test_the_bottleneck_is_that_of_the_earlier_run_or_the_binding_limit(job: Path) -> None:
    assert line("bottleneck")[0] == "unknown"
    assert line("bottleneck", rpm=60)[:2] == ("yes", "limited by requests/min of sim/a")
    run(config())
    edit_report(bottleneck={"main": "tokens", "says": "80 % of the time ..."})
    assert line("bottleneck") == ("yes", "earlier run: 80 % of the time ...", None)


def test_a_baseline_is_the_report_of_this_job(job: Path) -> None:
    assert line("baseline") == (
        "no",
        "no report of an earlier run",
        "llmscale run in.jsonl --limit 4",
    )
    run(config())
    answer, evidence, _ = line("baseline")
    assert answer == "yes"
    assert evidence.startswith("40 rows on 2")
    assert "calls/s, 0 failed, p95" in evidence
    assert line("baseline", system="Be brief.")[0] == "no", "that is another job"


def test_a_run_without_calls_is_no_baseline_and_is_not_suggested_again(job: Path) -> None:
    run(config(output="first.jsonl"))
    run(config())
    answer, evidence, todo = line("baseline")
    assert (answer, todo) == ("unknown", None)
    assert "made no calls" in evidence


@pytest.mark.parametrize("raw", [b'{"schema": 1}', b"\xff"])
def test_an_invalid_report_is_no_baseline(job: Path, raw: bytes) -> None:
    run(config())
    Path("in.report.json").write_bytes(raw)
    assert line("baseline")[0] == "no"


def test_the_report_is_found_at_its_configured_path(job: Path) -> None:
    run(config(report="elsewhere.json"))
    assert line("baseline")[0] == "no"
    assert line("baseline", report="elsewhere.json")[0] == "yes"


def test_the_cost_is_known_from_counts_only_with_max_tokens(job: Path) -> None:
    assert line("cost")[0] == "unknown"
    answer, evidence, _ = line("cost", max_tokens=10)
    assert answer == "yes"
    assert evidence.endswith("from token counts alone")
    estimate(config(), 10)
    assert line("cost")[1].endswith("from a sample")


def test_an_unknown_price_fails(job: Path) -> None:
    answer, evidence, _ = line("cost", model="openai/none-such", price=())
    assert answer == "no"
    assert "no price for openai/none-such" in evidence
    assert "[[price]]" in evidence


@pytest.mark.parametrize("mode", ["on", "read", "write", "refresh"])
def test_any_cache_mode_but_off_passes(job: Path, mode: str) -> None:
    answer, evidence, _ = line("cache", cache_mode=mode, cache_ttl="7d")
    assert answer == "yes"
    assert evidence.startswith(f"{mode}: ")
    assert "for 7d" in evidence


def test_cache_off_fails(job: Path) -> None:
    answer, _, todo = line("cache", cache_mode="off")
    assert (answer, todo) == ("no", "llmscale run in.jsonl --cache on")


@pytest.mark.parametrize(
    ("settings", "answer", "says"),
    [
        ({}, "yes", "sim/a: in this process"),
        ({"model": "openai/m"}, "no", "no limits for openai/m, neither set nor reported"),
        ({"model": "openai/m", "rpm": 6_000.0}, "yes", "openai/m: rpm 6,000"),
        ({"model": "openai/m", "tpm": "9/s"}, "yes", "openai/m: tpm 9/s"),
        ({"model": "openai/m", "base_url": OWN}, "yes", "adaptive concurrency"),
        ({"model": "openai/m", "base_url": OWN, "adaptive": False}, "no", "no limits for"),
        (
            {"model": "openai/m", "endpoint": (EndpointConfig(model="openai/m", rpd=5),)},
            "yes",
            "openai/m: rpd 5",
        ),
    ],
)
def test_endpoints_have_limits_or_need_none(
    job: Path, settings: dict[str, Any], answer: str, says: str
) -> None:
    found = line("limits", **settings)
    assert found[0] == answer
    assert says in found[1]


def test_missing_limits_are_suggested_as_low_as_the_job_needs(job: Path) -> None:
    assert line("limits", hours=0.1, model="openai/m")[2] == "llmscale run in.jsonl --rpm 67"


def test_a_reported_limit_passes(job: Path) -> None:
    run(config())
    calls = orjson.loads(Path("in.report.json").read_bytes())["calls"]
    reported = {**calls, "ejections": 0, "limits": {"provider_rpm": 300.0}}
    edit_report(endpoints={"openai/m": reported})
    write_rows(job / "in.jsonl", [{"prompt": f"Row {n}"} for n in range(40)])
    found = planned(endpoint=(EndpointConfig(model="openai/m"), EndpointConfig(model="sim/a")))
    assert found.lines[REQUIRED.index("limits")].answer == "yes"


def test_overload_fails_without_retries_and_fallback(job: Path) -> None:
    assert line("overload")[0] == "yes"
    answer, _, todo = line("overload", max_attempts=1)
    assert (answer, todo) == ("no", "llmscale run in.jsonl --max-attempts 5")
    pool = (EndpointConfig(model="sim/a"), EndpointConfig(model="sim/b"))
    fallback = {"sim/a": ("sim/b",)}
    assert line("overload", max_attempts=1, endpoint=pool, fallback=fallback)[0] == "yes"


# ---- advice


def test_one_machine_is_enough_if_the_pace_of_the_earlier_run_is(job: Path) -> None:
    assert line("machines")[0] == "unknown"
    run(config())
    assert line("machines")[0] == "yes"


@pytest.mark.parametrize(
    ("bottleneck", "answer"),
    [
        ({"main": "cpu", "says": ""}, "no"),
        ({"main": "disk", "says": ""}, "no"),
        ({"main": "requests", "says": ""}, "yes"),
    ],
)
def test_a_second_machine_helps_only_if_the_machine_is_the_bottleneck(
    job: Path, bottleneck: dict[str, Any], answer: str
) -> None:
    run(config())
    edit_report(wall_s=36_000.0, bottleneck=bottleneck)
    assert line("machines")[0] == answer


def test_several_endpoints_share_the_load(job: Path) -> None:
    assert line("balancing")[0] == "no"
    pool = (EndpointConfig(model="sim/a", capacity=1), EndpointConfig(model="sim/a", capacity=2))
    assert line("balancing", endpoint=pool)[0] == "yes"


def test_storage_is_checked_by_the_mean_size_of_cached_answers(job: Path) -> None:
    assert line("storage")[0] == "unknown"
    run(config())
    assert line("storage")[0] == "yes"
    answer, _, todo = line("storage", cache_max_size="50kB")
    assert (answer, todo) == ("no", "llmscale run in.jsonl --cache-max-size 1GB")
    assert line("storage", cache_mode="off")[0] == "yes"


def test_a_cap_must_be_set_and_enough(job: Path) -> None:
    assert line("cap", max_tokens=10)[0] == "no"
    assert str(line("cap", max_tokens=10)[2]).startswith("llmscale run in.jsonl --max-cost 0.0")
    assert line("cap", max_tokens=10, max_cost=5.0)[:2] == ("yes", "--max-cost $5.00")
    assert "may not be enough" in line("cap", max_cost=5.0)[1]
    assert line("cap", max_cost=1e-9)[0] == "no"
    assert line("cap", price=())[:2] == ("yes", "the job is free")


def test_alerts_lists_rules_and_targets(job: Path) -> None:
    answer, evidence, todo = line("alerts")
    assert (answer, todo) == ("yes", None)
    assert evidence == f"warning if {Config().observe.alert_on}; alerts go to: log"
    estimate(config(), 0)
    evidence = line("alerts", fail_on="errors>1%", alert=("exec:notify",))[1]
    assert evidence.startswith("exit code 1 if errors>1%; warning if ")
    assert "drifts from its estimate; alerts go to: log, exec:notify" in evidence
    answer, _, todo = line("alerts", alert_on="")
    assert answer == "no"
    assert str(todo).startswith("llmscale run in.jsonl --alert-on 'errors>5%,")


@pytest.mark.parametrize(
    ("done", "answer", "following"),
    [
        (None, "no", "--limit 4"),
        (4, "yes", "--limit 10"),
        (10, "yes", "--limit 20"),
        (20, "yes", ""),
    ],
)
def test_the_next_stage_is_suggested(
    job: Path, done: int | None, answer: str, following: str
) -> None:
    if done is not None:
        run(config(limit=done))
    found = line("rollout")
    assert found[0] == answer
    assert found[2] == f"llmscale run in.jsonl {following}".strip()
    assert f"{done or 0} of 40 rows are answered" in found[1]


def test_after_the_last_stage_nothing_is_suggested(job: Path) -> None:
    run(config())
    assert line("rollout") == ("yes", "40 of 40 rows are answered", None)


def test_a_run_to_a_file_can_be_rolled_back(job: Path) -> None:
    answer, evidence, todo = line("rollback")
    assert answer == "yes"
    assert "in.results.jsonl is only replaced as a whole, at the end" in evidence
    assert todo == "llmscale cache export before.cache.jsonl"
    assert line("rollback", cache_mode="off")[2] is None
    assert line("rollback", output="-")[0] == "no"


def test_an_earlier_run_matched_its_estimate_or_not_or_it_is_unknown(job: Path) -> None:
    assert line("verified")[0] == "unknown"
    estimate(config(), 10)
    run(config())
    answer, evidence, _ = line("verified")
    assert answer == "yes"
    assert "estimated $" in evidence
    held = orjson.loads(Path("in.report.json").read_bytes())["estimate"]
    edit_report(estimate={**held, "drift": ["usd", "hours"]})
    answer, evidence, todo = line("verified")
    assert (answer, todo) == ("no", "llmscale estimate in.jsonl --sample 50")
    assert "outside of the estimate: usd, hours" in evidence


def test_an_empty_input_has_a_plan(job: Path) -> None:
    write_rows(job / "in.jsonl", [])
    assert planned().lines
