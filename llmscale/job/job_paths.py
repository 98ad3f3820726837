"""The names of a job's files, all beside its output."""

from pathlib import Path
from typing import NamedTuple


class JobPaths(NamedTuple):
    """Where a job keeps what; all beside its output."""

    output: Path

    @property
    def partial(self) -> Path:
        """The journal of finished rows."""
        return self._beside(".partial")

    @property
    def manifest(self) -> Path:
        """What the job is: inputs, settings, counts."""
        return self._beside(".job.json")

    @property
    def lock(self) -> Path:
        """Held while a process runs the job."""
        return self._beside(".lock")

    @property
    def estimate(self) -> Path:
        """What was estimated of the job before it ran."""
        return self._beside(".estimate.json")

    def _beside(self, ending: str) -> Path:
        return self.output.with_name(self.output.name + ending)
