"""The baseline of a plan: the report of the latest run of the job."""

from pathlib import Path

from llmscale.accounting.run_numbers import Report
from llmscale.commands.estimate.job_state import JobState
from llmscale.core.errors import JobError
from llmscale.report.report_file import load


def baseline_of(job: JobState) -> Report | None:
    """Return the report of the latest run of a job; None where there is none that can be used."""
    if not job.to_file or job.manifest is None:
        return None
    try:
        found = load(Path(job.config.files.report or job.paths.report))
    except JobError:
        return None
    return found if found.output == str(job.paths.output) else None
