"""Which state a job is in, by the files that its run has left."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmscale.accounting.stats import Spend
from llmscale.commands.status import SILENT_AFTER_S, status
from llmscale.core.errors import ConfigError
from llmscale.job import manifest as manifests
from llmscale.job.job_paths import JobPaths
from llmscale.job.manifest import InputFile, Manifest
from llmscale.observe.status_file import RunStatus

NOW = datetime.now(UTC)


def job(folder: Path, **changed: Any) -> JobPaths:
    """Write the manifest of a job of 40 rows."""
    paths = JobPaths(folder / "out.jsonl")
    manifest = Manifest(
        inputs=[InputFile("in.jsonl", "0")], settings={}, output_format="llmscale", rows=40
    )
    manifests.save(paths.manifest, msgspec.structs.replace(manifest, **changed))
    return paths


def add_run(paths: JobPaths, **changed: Any) -> None:
    """Write the status of a run of this process: 10 rows kept, 12 answered, 3 failed."""
    run = RunStatus(
        pid=os.getpid(),
        host=os.uname().nodename,
        started=NOW,
        updated=datetime.now(UTC),
        total=40,
        kept=10,
        answered=12,
        failed=3,
        cached=2,
        failures={"timeout": 3},
        rows_per_s=2.5,
        tokens=700,
        cost_usd=0.25,
        unpriced=False,
        max_cost_usd=1.0,
    )
    paths.status.write_bytes(msgspec.json.encode(msgspec.structs.replace(run, **changed)))


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_job_that_runs_has_rows_of_all_runs_a_rate_and_the_time_that_is_left(
    tmp_path: Path,
) -> None:
    paths = job(tmp_path)
    add_run(paths)
    found = status(paths.output)
    assert (found.state, found.goes_on) == ("running", True)
    assert (found.rows, found.answered, found.failed, found.pending) == (40, 22, 3, 15)
    assert (found.rows_per_s, found.eta_s) == (2.5, 6.0)
    assert (found.cost_usd, found.max_cost_usd, found.failures) == (0.25, 1.0, {"timeout": 3})


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"updated": NOW - timedelta(seconds=SILENT_AFTER_S + 1)}, "silent"),
        ({"exit_code": 130}, "stopped"),
        ({"exit_code": 3, "pid": 2**22}, "stopped"),
        ({"pid": dead_pid()}, "killed"),
        ({"pid": dead_pid(), "host": "elsewhere"}, "running"),
    ],
)
def test_the_last_sign_of_life_decides_the_state(
    changed: dict[str, Any], state: str, tmp_path: Path
) -> None:
    paths = job(tmp_path)
    add_run(paths, **changed)
    found = status(paths.output)
    assert found.state == state
    assert (found.eta_s is None) is (state != "running")


def test_a_rate_of_nothing_promises_no_end(tmp_path: Path) -> None:
    paths = job(tmp_path)
    add_run(paths, rows_per_s=0.0)
    assert status(paths.output).eta_s is None


def test_a_finished_job_has_the_counts_of_its_manifest(tmp_path: Path) -> None:
    paths = job(
        tmp_path, state="finished", answered=38, failed=2, spend=Spend(cost_usd=0.5, unpriced=1)
    )
    found = status(paths.output)
    assert (found.state, found.answered, found.failed, found.pending) == ("finished", 38, 2, 0)
    assert (found.cost_usd, found.unpriced) == (0.5, True)


def test_a_run_that_was_killed_before_its_first_sign_has_the_lines_of_its_journal(
    tmp_path: Path,
) -> None:
    paths = job(tmp_path)
    assert (status(paths.output).state, status(paths.output).answered) == ("killed", 0)
    paths.partial.write_bytes(b"{}\n{}\n{")
    assert (status(paths.output).answered, status(paths.output).pending) == (2, 38)


@pytest.mark.parametrize("suffix", [".partial", ".job.json", ".status.json", ".lock"])
def test_a_file_beside_the_output_names_the_job_too(suffix: str, tmp_path: Path) -> None:
    paths = job(tmp_path)
    add_run(paths)
    assert status(Path(f"{paths.output}{suffix}")).output == str(paths.output)


def test_where_there_is_no_job_the_sentence_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no job with the output .*/none; name the file that"):
        status(tmp_path / "none")
    paths = JobPaths(tmp_path / "in.results.jsonl")
    job(tmp_path)
    JobPaths(tmp_path / "out.jsonl").manifest.rename(paths.manifest)
    with pytest.raises(ConfigError, match=r"in.jsonl is no output .* mean .*in.results.jsonl\?$"):
        status(tmp_path / "in.jsonl")
