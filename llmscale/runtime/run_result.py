"""What a run has come to, as a value: the command line prints it, a caller in Python reads it."""

from typing import NamedTuple

from llmscale.accounting.run_numbers import Report
from llmscale.core.errors import JobError


class RunFiles(NamedTuple):
    """What a run leaves, as a person reads it."""

    produces: str  # "answers"
    output: str  # the file that has rows; empty: none has
    report: str | None  # None: there is no report


class RunResult(NamedTuple):
    """The end of a command that answers rows."""

    exit_code: int
    report: Report | None = None  # None: there was no run
    error: JobError | None = None  # what ended the run; rows answered until then are safe
    files: RunFiles | None = None  # None: nothing had to be answered
