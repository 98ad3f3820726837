"""Whether a run has an estimate to be held against: one of the same rows and settings."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmscale.accounting.stats import Stats
from llmscale.job.job_paths import JobPaths
from llmscale.job.manifest import InputFile, Manifest

if TYPE_CHECKING:
    from llmscale.accounting.forecast.drift import DriftWatch
    from llmscale.accounting.forecast.saved_estimate import SavedEstimate

NEVER_COMPARED = frozenset({"output_format"})
"""Of the settings that make a job: what a line looks like costs nothing."""


def drift_watch(files: JobPaths, job: Manifest, stats: Stats) -> "DriftWatch | None":
    """Return what watches the run of a job, None where it was not estimated.

    A run of fewer rows is carried over to all that were estimated; one of more is another job.
    """
    kept = saved_estimate(files, job.inputs, job.settings)
    if kept is None or not kept.asked or _limit(kept.limit) < _limit(job.limit):
        return None
    from llmscale.accounting.forecast.drift import DriftWatch

    return DriftWatch(kept, stats)


def saved_estimate(
    files: JobPaths, inputs: Sequence[InputFile], settings: Mapping[str, Any]
) -> "SavedEstimate | None":
    """Return what was estimated of a job, None where nothing was, or of another one."""
    try:
        raw = files.estimate.read_bytes()
    except OSError:  # a run goes on without
        return None
    from llmscale.accounting.forecast.saved_estimate import decode

    kept = decode(raw)
    is_ours = kept is not None and kept.is_of(digests(inputs), compared(settings))
    return kept if is_ours else None


def digests(inputs: Sequence[InputFile]) -> list[str]:
    """Return what the input of a job is known by."""
    return [file.sha256 for file in inputs]


def compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run has to share with its estimate."""
    return {name: value for name, value in settings.items() if name not in NEVER_COMPARED}


def _limit(rows: int | None) -> float:
    return math.inf if rows is None else rows
