"""`llmscale status`: how far a job is, by the files beside its output. Never takes its lock."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from llmscale.core.errors import ConfigError, StorageError
from llmscale.job import manifest as manifests
from llmscale.job.job_paths import JobPaths, default_output
from llmscale.job.manifest import Manifest
from llmscale.observe import status_file
from llmscale.observe.status_file import RunStatus

SILENT_AFTER_S = 15.0  # without a beat of the run, which beats once a second

State = Literal["running", "silent", "stopped", "killed", "finished"]
"""silent: its process is there and does not move; stopped: in order; killed: without an end."""

_BESIDE = (".partial", ".job.json", ".status.json", ".lock")


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands. Rows and dollars are those of all its runs; None: not known."""

    output: str
    state: State
    rows: int | None
    answered: int
    failed: int
    pending: int | None
    cached: int | None = None  # by this run
    failures: dict[str, int] = {}
    rows_per_s: float | None = None  # over the last minute
    eta_s: float | None = None
    tokens: int | None = None  # by this run
    cost_usd: float | None = None
    unpriced: bool = False  # the cost is a lower bound
    max_cost_usd: float | None = None
    pid: int | None = None
    started: datetime | None = None
    updated: datetime | None = None
    exit_code: int | None = None

    @property
    def goes_on(self) -> bool:
        """Tell whether a process works on it."""
        return self.state in ("running", "silent")


def status(named: Path) -> JobStatus:
    """Return the status of the job with an output; a file beside the output names it too.

    Raises `ConfigError` where there is no job, `StorageError` where it can't be read.
    """
    paths = JobPaths(_output_of(named))
    run = status_file.load(paths.status)  # first: it is removed after the manifest is finished
    manifest = manifests.load(paths.manifest)
    if manifest is None:
        raise ConfigError(_no_job(named))
    if run is not None and manifest.state != "finished":
        return _of_run(paths, run)
    return _of_manifest(paths, manifest)


def _output_of(named: Path) -> Path:
    for suffix in _BESIDE:
        if named.name.endswith(suffix):
            return named.with_name(named.name.removesuffix(suffix))
    return named


def _no_job(named: Path) -> str:
    meant = named.parent / default_output([str(named)], "results")
    if JobPaths(meant).manifest.exists():
        return f"{named} is no output of a job; did you mean {meant}?"
    return f"there is no job with the output {named}; name the file that the run writes (-o FILE)"


def _of_run(paths: JobPaths, run: RunStatus) -> JobStatus:
    state = _state_of(run)
    moves = state == "running" and run.rows_per_s and run.pending is not None
    return JobStatus(
        output=str(paths.output),
        state=state,
        rows=run.total,
        answered=run.kept + run.answered,
        failed=run.failed,
        pending=run.pending,
        cached=run.cached,
        failures=run.failures,
        rows_per_s=run.rows_per_s if state == "running" else None,
        eta_s=(run.pending or 0) / run.rows_per_s if moves and run.rows_per_s else None,
        tokens=run.tokens,
        cost_usd=run.cost_usd,
        unpriced=run.unpriced,
        max_cost_usd=run.max_cost_usd,
        pid=run.pid,
        started=run.started,
        updated=run.updated,
        exit_code=run.exit_code,
    )


def _of_manifest(paths: JobPaths, manifest: Manifest) -> JobStatus:
    is_finished = manifest.state == "finished"
    done = manifest.answered if is_finished else _lines_in(paths.partial)
    return JobStatus(
        output=str(paths.output),
        state="finished" if is_finished else "killed",
        rows=manifest.rows,
        answered=done,
        failed=manifest.failed,
        pending=max(0, manifest.rows - done - manifest.failed),
        cost_usd=manifest.spend.cost_usd,
        unpriced=manifest.spend.unpriced > 0,
    )


def _state_of(run: RunStatus) -> State:
    if run.exit_code is not None:
        return "stopped"
    is_here = run.host == platform.node()
    if is_here and not _is_alive(run.pid):
        return "killed"
    silent_s = (datetime.now(UTC) - run.updated).total_seconds()
    return "running" if silent_s < SILENT_AFTER_S else "silent"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _lines_in(path: Path) -> int:
    """Return the whole lines of a journal, which a run has left before its first beat."""
    try:
        with path.open("rb") as file:
            return sum(line.endswith(b"\n") for line in file)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from None
