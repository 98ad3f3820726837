"""What a run has come to, as a value: the command line prints it, a caller in Python reads it."""

from typing import Any, NamedTuple

from llmscale.core.errors import JobError


class RunResult(NamedTuple):
    """The end of a command that answers rows."""

    exit_code: int
    report: dict[str, Any] | None = None  # None: there was no run
    error: JobError | None = None  # what ended the run; rows answered until then are safe
