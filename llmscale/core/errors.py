"""The error tree, with the exit code that each ends the process with.

    LlmscaleError
    ├── CallFailed              one call or row failed; never ends the process
    ├── CallStopped             the run is stopping; the row was not answered and stays pending
    └── JobError
        ├── ConfigError         2   a flag, a setting or an input that can't be used
        ├── ProviderRefused     3   auth or quota: no other row would fare better
        ├── TooManyFailures     3   as many rows failed as --max-failures allows
        ├── BudgetReached       4   what is left of --max-cost does not cover the next call
        ├── StorageError        5   the disk does not take what we write
        ├── LockedError         6   another process runs this job
        └── Interrupted         130 Ctrl-C, 129 SIGHUP, 143 SIGTERM, 141 stdout has no reader

Every message is one sentence for a person: what, where, what to do. No message holds a secret.
"""

import signal
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # help imports errors, and no records
    from llmscale.core.records import Failure


class LlmscaleError(Exception):
    """Anything that this tool expects to go wrong."""


class CallFailed(LlmscaleError):
    """A call failed; `failure` says how, `attempts` how often it was tried."""

    def __init__(self, failure: "Failure", attempts: int = 1) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.attempts = attempts


class CallStopped(LlmscaleError):
    """The run is stopping: nothing more is sent, and the row stays pending.

    `may_be_paid`: it was sent before, and nobody is left to read the answer.
    """

    def __init__(self, *, may_be_paid: bool = False) -> None:
        super().__init__()
        self.may_be_paid = may_be_paid


class JobError(LlmscaleError):
    """Ends the run. Rows without an answer stay pending for the next one."""

    exit_code: ClassVar[int] = 1


class ConfigError(JobError):
    """A flag, a setting or an input that can't be used; nothing was sent."""

    exit_code = 2


class ProviderRefused(JobError):
    """The provider refuses the job: a bad key, no permission, no quota."""

    exit_code = 3


class TooManyFailures(JobError):
    """As many rows failed as `--max-failures` allows; the others stay pending."""

    exit_code = 3


class BudgetReached(JobError):
    """What is left of the budget does not cover the next call; nothing is in flight."""

    exit_code = 4

    def __init__(self, used: str, rows_left: int | None = None) -> None:
        """`used` says how far the money went; `rows_left` None: not known."""
        rows = "rows" if rows_left is None else f"{rows_left} rows"
        super().__init__(
            f"{used}; {rows} are left, and the same command with a higher --max-cost goes on"
        )
        self.used = used


class StorageError(JobError):
    """A file can't be written or read."""

    exit_code = 5


class LockedError(JobError):
    """Another process runs this job."""

    exit_code = 6


class Interrupted(JobError):
    """Stopped from outside; the exit code follows the shell's custom of 128 + signal number."""

    _REASONS: ClassVar = {
        signal.SIGINT: "stopped by Ctrl-C",
        signal.SIGTERM: "stopped by SIGTERM",
        signal.SIGHUP: "stopped by SIGHUP: the terminal was closed",
        signal.SIGPIPE: "stdout was closed by its reader",
    }

    def __init__(self, signal_number: int) -> None:
        super().__init__(self._REASONS[signal.Signals(signal_number)])
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """128 and the number of the signal."""
        return 128 + self.signal_number


def first_error(error: BaseException) -> BaseException:
    """Return the first error of a group, which is why the tasks beside it were cancelled."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
