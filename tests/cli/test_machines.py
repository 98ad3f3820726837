"""What machines see of a run: exit codes, files, webhooks, spans, the last line of stderr."""

import signal
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.tool import (
    Run,
    arrived,
    lines_in,
    llmscale,
    prompts,
    read_rows,
    report_of,
    start,
    stop,
    wait_until,
    write_rows,
)
from tests.observe.junit.test_xml import cases_of
from tests.servers.chat import chat_process
from tests.test_architecture import imported_by

FAILING = ("--model", "sim/error_rate=0.3,seed=1", "--max-attempts", 1)
RUN = ("run", "in.jsonl", "-o", "out.jsonl")
EMBED = ("embed", "texts.jsonl", "-o", "out.jsonl")
BOTH = pytest.mark.parametrize("verb", [RUN, EMBED], ids=["run", "embed"])


def filled(folder: Path) -> Path:
    """Write 40 prompts and 40 texts into a folder."""
    write_rows(folder / "in.jsonl", prompts(40))
    write_rows(folder / "texts.jsonl", [{"text": row["prompt"]} for row in prompts(40)])
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path)


class Watched(NamedTuple):
    """A job with failed rows that everybody watches, after its end."""

    folder: Path
    ended: Run


@pytest.fixture(scope="module", params=[RUN, EMBED], ids=["run", "embed"])
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = filled(tmp_path_factory.mktemp("watched"))
    watchers = ("--metrics", "nightly.prom", "--junit", "j.xml", "--json-summary")
    rules = ("--fail-on", "errors>1%,p95>1h,hit_rate<20%")
    options = options_of(request.param)
    return Watched(folder, llmscale(*request.param, *options, *watchers, *rules, cwd=folder))


def options_of(verb: tuple[str, ...]) -> tuple[object, ...]:
    """Return what makes rows of either command fail."""
    return (*FAILING, "--batch-size", 1) if verb is EMBED else FAILING


def metrics_of(path: Path) -> dict[str, float]:
    """Return the samples of a file without the labels, added up."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def summary_of(ended: Run) -> dict[str, Any]:
    """Return what the last line of stderr says."""
    found: dict[str, Any] = orjson.loads(ended.stderr.splitlines()[-1])
    assert found["exit_code"] == ended.returncode
    return found


# ---- rules -------------------------------------------------------------------------------------


def test_a_rule_that_has_tripped_is_exit_code_1_and_named(folder: Path) -> None:
    rules = "rows_per_s<1000000,p99>1h,hit_rate<20%"
    ended = llmscale(*RUN, "--model", "sim/a", "--fail-on", rules, cwd=folder)
    assert ended.returncode == 1
    assert "error: --fail-on rows_per_s<1000000: " in ended.stderr
    assert "p99" not in ended.stderr
    assert "hit_rate" not in ended.stderr
    report = report_of(folder / "out.jsonl")
    assert report["exit_code"] == 1
    assert [(a["rule"], a["fails"]) for a in report["alerts"]] == [("rows_per_s<1000000", True)]
    assert report["alerts"][0]["value"] == pytest.approx(report["rows_per_s"], rel=1e-3)
    assert len(read_rows(folder / "out.jsonl")) == 40


def test_quiet_still_names_what_has_tripped(folder: Path) -> None:
    ended = llmscale(*RUN, *FAILING, "--fail-on", "errors>1%", "--quiet", cwd=folder)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "--fail-on errors>1%: " in line


def test_a_rule_of_the_file_counts_and_the_flag_wins(folder: Path) -> None:
    (folder / "llmscale.toml").write_text('fail_on = "rows_per_s<1000000"')
    assert llmscale(*RUN, "--model", "sim/a", cwd=folder).returncode == 1
    ended = llmscale(*RUN, "--model", "sim/a", "--fail-on", "", "--overwrite", cwd=folder)
    assert ended.returncode == 0


def test_a_wrong_rule_is_one_sentence_and_exit_code_2_before_anything_starts(folder: Path) -> None:
    ended = llmscale(*RUN, "--model", "sim/a", "--fail-on", "speed>1", cwd=folder)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "--fail-on: unknown metric in rule 'speed>1'; did you mean spend?" in line
    assert not (folder / "out.jsonl").exists()


def test_a_worse_exit_code_stays(folder: Path) -> None:
    with chat_process("--faults", "401:1") as url:
        ended = llmscale(
            *(*RUN, "--model", "openai/m", "--base-url", url, "--fail-on", "rows_per_s<1000000"),
            cwd=folder,
        )
    assert ended.returncode == 3
    assert "--fail-on rows_per_s<1000000" in ended.stderr
    assert report_of(folder / "out.jsonl")["exit_code"] == 3


def test_a_stream_ends_with_the_code_of_its_rules_too(folder: Path) -> None:
    ended = llmscale(
        *("run", "in.jsonl", "-o", "-", "--model", "sim/a", "--fail-on", "rows_per_s<1000000"),
        cwd=folder,
    )
    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 40


# ---- alerts ------------------------------------------------------------------------------------


def test_every_target_gets_each_alert_and_no_text_of_rows(folder: Path) -> None:
    ledger = folder / "ledger"
    with chat_process("--ledger", ledger) as url:
        ended = llmscale(
            *(*RUN, *FAILING, "--fail-on", "errors>1"),
            *("--alert", f"{url}/T0KEN", "--alert", "env:HOOK"),
            *("--alert", "exec:sh -c 'cat > heard.$$; echo out; echo err >&2'"),
            cwd=folder,
            HOOK=f"{url}/0THER",
            OPENAI_API_KEY="sk-canary",
        )
    assert ended.returncode == 1
    assert "T0KEN" not in ended.stderr
    assert "err\n" not in ended.stderr
    assert ended.stdout == ""
    texts = [path.read_bytes() for path in folder.glob("heard.*")]
    heard = [orjson.loads(text) for text in texts]
    assert len(heard) == 2
    assert {alert["rule"] for alert in heard} == {"errors>1", "errors>5%"}
    for alert in heard:
        assert list(alert) == ["job", "rule", "value", "at", "text"]
        assert alert["job"] == "out.jsonl"
    assert b"sk-canary" not in b"".join(texts)
    assert b"squared" not in b"".join(texts)
    calls = arrived(ledger)
    assert len(calls) == 4, "two alerts at two webhooks"
    assert not any(entry["authorization"] for entry in calls)


def test_a_failing_target_is_logged_once_and_does_not_change_the_exit_code(folder: Path) -> None:
    ended = llmscale(
        *(*RUN, "--model", "sim/a", "--alert-on", "rows_per_s>0,p50>=0,call_p50>=0"),
        *("--alert", "exec:false"),
        cwd=folder,
    )
    assert ended.returncode == 0
    assert ended.stderr.count("the command false ended with exit code 1") == 1
    assert ended.stderr.count("warning: alert ") == 3


def test_alerts_can_be_switched_off(folder: Path) -> None:
    ended = llmscale(*RUN, *FAILING, "--alert-on", "", cwd=folder)
    assert "alert" not in ended.stderr
    assert report_of(folder / "out.jsonl")["alerts"] == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--alert", "ftp://x"), "--alert: write http(s)://HOST"),
        (("--alert", "env:NO_SUCH"), "variable NO_SUCH holds no address"),
        (("--alert", "exec:no-such-program"), "no program 'no-such-program'"),
        (("--junit", "in.jsonl"), "--junit in.jsonl is also an input"),
        (("--junit", "texts.jsonl"), "--junit texts.jsonl is also an input"),
        (("--metrics", "./out.jsonl"), "--metrics out.jsonl is also the output"),
        (("--report", "out.jsonl.partial"), "--report out.jsonl.partial is also the output"),
        (("--junit", "x", "--metrics", "x"), "--metrics x is also --junit"),
        (("--junit", "nowhere/x.xml"), "no folder nowhere for --junit x.xml"),
        (("--metrics", "."), "--metrics . is not a regular file"),
        (("--report", "/dev/null"), "--report /dev/null is not a regular file"),
    ],
)
def test_a_target_or_file_that_can_not_work_is_refused_at_the_start(
    flags: tuple[str, ...], sentence: str, folder: Path
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    verb = EMBED if "texts.jsonl" in flags else RUN
    ended = llmscale(*verb, "--model", "sim/a", *flags, cwd=folder)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert sentence in line
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ---- files -------------------------------------------------------------------------------------


def test_the_metrics_are_the_numbers_of_the_report(watched: Watched) -> None:
    path, report = watched.folder / "nightly.prom", report_of(watched.folder / "out.jsonl")
    found = metrics_of(path)
    assert found["llmscale_requests_total"] == report["calls"]["attempts"] == 40
    assert found["llmscale_errors_total"] == report["rows"]["failed"] > 0
    assert found["llmscale_request_duration_seconds_count"] == report["rows"]["answered"]
    assert found["llmscale_rows"] == 40
    assert found["llmscale_exit_code"] == watched.ended.returncode == 1
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_junit_file_has_a_case_for_rows_failures_and_rules(watched: Watched) -> None:
    cases = cases_of((watched.folder / "j.xml").read_bytes())
    faults = {name: fault and fault[0] for name, fault in cases.items()}
    assert faults == {
        "all rows are answered": "failure",
        "server_error": "failure",
        "--fail-on errors>1%": "failure",
        "--fail-on p95>1h": None,
        "--fail-on hit_rate<20%": "skipped",
    }
    examples = cases["server_error"]
    assert examples is not None
    assert examples[2].count("\n") == 4
    assert "simulated failure" in examples[2]


def test_the_last_line_of_stderr_is_a_summary(watched: Watched) -> None:
    summary, report = summary_of(watched.ended), report_of(watched.folder / "out.jsonl")
    assert summary["rows_failed"] == report["rows"]["failed"]
    assert summary["failures"] == {"server_error": report["rows"]["failed"]}
    assert summary["failed_on"] == ["errors>1%"]
    assert summary["error"] is None


@BOTH
def test_a_finished_job_writes_its_files_again_and_trips_no_rule(
    verb: tuple[str, ...], folder: Path
) -> None:
    options = ("--model", "sim/a", "--junit", "j.xml", "--metrics", "m.prom", "--json-summary")
    rules = ("--fail-on", "errors>1%,p95>30s,cost>5,hit_rate<20%")
    assert llmscale(*verb, *options, *rules, cwd=folder).returncode == 0
    assert report_of(folder / "out.jsonl")["alerts"] == [], "no rule has tripped"
    for name in ("j.xml", "m.prom"):
        (folder / name).unlink()
    again = llmscale(*verb, *options, "--fail-on", "rows_per_s<1000000", cwd=folder)
    assert again.returncode == 0
    summary = summary_of(again)
    assert (summary["rows_total"], summary["rows_kept"], summary["rows_answered"]) == (40, 40, 0)
    assert cases_of((folder / "j.xml").read_bytes()) == {"all rows are answered": None}
    assert metrics_of(folder / "m.prom")["llmscale_exit_code"] == 0


def test_metrics_are_there_while_it_runs_and_after_it_was_stopped(folder: Path) -> None:
    path = folder / "nightly.prom"
    slow = ("--model", "sim/latency=0.2", "--concurrency", 1)
    process = start(*RUN, *slow, "--metrics", "nightly.prom", cwd=folder)
    wait_until(path.exists)
    assert "llmscale_exit_code" not in metrics_of(path)
    wait_until(lambda: lines_in(folder / "out.jsonl.partial") >= 2)
    ended = stop(process, signal.SIGTERM)
    assert ended.returncode == 143
    assert metrics_of(path)["llmscale_exit_code"] == 143
    assert metrics_of(path)["llmscale_rows"] == 40


def test_the_junit_file_has_the_error_that_ended_a_run(folder: Path) -> None:
    with chat_process("--faults", "401:1") as url:
        options = ("--model", "openai/m", "--base-url", url, "--junit", "j.xml")
        assert llmscale(*RUN, *options, cwd=folder).returncode == 3
    cases = cases_of((folder / "j.xml").read_bytes())
    assert cases["all rows are answered"] == ("failure", *["of 40 rows, 40 pending"] * 2)
    error = cases["the run comes to its end"]
    assert error is not None
    assert error[0] == "error"
    assert "refuses the job" in error[1]


# ---- the last line -----------------------------------------------------------------------------


def refused(folder: Path) -> Run:
    with chat_process("--faults", "401:1") as url:
        return llmscale(
            *RUN, "--model", "openai/m", "--base-url", url, "--json-summary", cwd=folder
        )


def interrupted(folder: Path) -> Run:
    slow = ("--model", "sim/latency=0.2", "--concurrency", 1)
    process = start(*RUN, *slow, "--json-summary", cwd=folder)
    wait_until(lambda: lines_in(folder / "out.jsonl.partial") >= 2)
    return stop(process, signal.SIGINT)


def locked(folder: Path) -> Run:
    slow = ("--model", "sim/latency=0.2", "--concurrency", 1)
    process = start(*RUN, *slow, cwd=folder)
    wait_until(lambda: lines_in(folder / "out.jsonl.partial") >= 1)
    ended = llmscale(*RUN, *slow, "--json-summary", cwd=folder)
    stop(process, signal.SIGKILL)
    return ended


def misused(folder: Path) -> Run:
    return llmscale("run", "nowhere.jsonl", "--json-summary", "--quiet", cwd=folder)


def without_a_folder(folder: Path) -> Run:
    options = ("--model", "sim/a", "--json-summary")
    return llmscale("run", "in.jsonl", "-o", "nowhere/out.jsonl", *options, cwd=folder)


@pytest.mark.parametrize(
    ("play", "exit_code", "error"),
    [
        (misused, 2, "there is no input nowhere.jsonl"),
        (without_a_folder, 2, "no folder nowhere"),
        (refused, 3, "refuses the job"),
        (locked, 6, "process"),
        (interrupted, 130, "stopped by Ctrl-C"),
    ],
)
def test_however_it_ends_the_summary_is_the_last_line(
    play: Any, exit_code: int, error: str, folder: Path
) -> None:
    ended = play(folder)
    assert ended.returncode == exit_code
    summary = summary_of(ended)
    assert error in summary["error"]
    has_run = exit_code in (3, 130)
    assert summary["rows_total"] == (40 if has_run else None)


def test_a_stream_has_its_answers_on_stdout_and_its_summary_on_stderr(folder: Path) -> None:
    ended = llmscale(
        "run",
        "-",
        "-o",
        "-",
        "--model",
        "sim/a",
        "--json-summary",
        cwd=folder,
        stdin='{"prompt": "x"}',
    )
    assert summary_of(ended)["rows_answered"] == 1
    assert len(ended.stdout.splitlines()) == 1


# ---- spans -------------------------------------------------------------------------------------


@BOTH
def test_spans_go_to_where_the_environment_says_and_nowhere_without_otel(
    verb: tuple[str, ...], folder: Path
) -> None:
    ledger = folder / "ledger"
    with chat_process("--ledger", ledger) as url:
        options = (*verb, "--model", "sim/a", "--overwrite")
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        assert llmscale(*options, cwd=folder, **where).returncode == 0
        assert read_rows(ledger) == []
        ended = llmscale(*options, "--otel", cwd=folder, **where)
        assert ended.returncode == 0
    assert arrived(ledger)


def test_without_the_extra_otel_is_refused_with_the_install_command(folder: Path) -> None:
    (folder / "opentelemetry").mkdir()
    (folder / "opentelemetry" / "__init__.py").write_text("raise ImportError\n")
    ended = llmscale(
        *(*RUN, "--model", "sim/a", "--otel"),
        cwd=folder,
        PYTHONPATH=f"{folder}:{Path(__file__).parents[2]}",
    )
    assert ended.returncode == 2
    assert 'pip install "llmscale[otel]"' in ended.stderr


def test_what_is_not_asked_for_is_not_loaded(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(1))
    imported = imported_by(tmp_path, "run", "in.jsonl", "--model", "sim/a", "--metrics", "m.prom")
    assert "uvloop" in imported
    assert not imported & {"opentelemetry", "prometheus_client", "aiohttp", "xml"}
