"""The estimate that a run is compared with: one of the same rows and settings."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmscale.accounting.stats import Stats
from llmscale.core.atomic_file import read_own
from llmscale.job.job_paths import JobPaths
from llmscale.job.manifest import InputFile, Manifest

if TYPE_CHECKING:
    from llmscale.accounting.forecast.drift import DriftWatch
    from llmscale.accounting.forecast.saved_estimate import SavedEstimate

NEVER_COMPARED = frozenset({"output_format"})
"""Settings of a job that an estimate does not depend on: a line format costs nothing."""


def drift_watch(files: JobPaths, job: Manifest, stats: Stats) -> "DriftWatch | None":
    """Return the watch over a run, None where the job was not estimated.

    A run of fewer rows is projected to all that were estimated; one of more is another job.
    """
    saved = saved_estimate(files, job.inputs, job.settings)
    if saved is None or not saved.asked or _limit(saved.limit) < _limit(job.limit):
        return None
    from llmscale.accounting.forecast.drift import DriftWatch

    return DriftWatch(saved, stats)


def saved_estimate(
    files: JobPaths, inputs: Sequence[InputFile], settings: Mapping[str, Any]
) -> "SavedEstimate | None":
    """Return the saved estimate of a job, None where there is none, or that of another job."""
    try:
        raw = read_own(files.estimate)
    except OSError:  # the run goes on without it
        return None
    from llmscale.accounting.forecast.saved_estimate import decode

    saved = decode(raw)
    is_ours = saved is not None and saved.is_of(digests(inputs), compared(settings))
    return saved if is_ours else None


def digests(inputs: Sequence[InputFile]) -> list[str]:
    """Return the digests that identify the input of a job."""
    return [file.sha256 for file in inputs]


def compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run must share with its estimate."""
    return {name: value for name, value in settings.items() if name not in NEVER_COMPARED}


def _limit(rows: int | None) -> float:
    return math.inf if rows is None else rows
