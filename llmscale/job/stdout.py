"""Outcomes to standard output, in completion order: nothing is stored, nothing can be resumed.

On a terminal, control characters are written as escapes: the same JSON.
"""

import os
import signal
import sys
from collections.abc import Sequence

from llmscale.core.choices import OutputFormat
from llmscale.core.errors import Interrupted, StorageError
from llmscale.core.output_line import encode, line_of
from llmscale.core.printable import escaped
from llmscale.core.records import Outcome


class StdoutSink:
    """An `OutcomeSink` that writes lines at once."""

    def __init__(self, output_format: OutputFormat) -> None:
        self._format = output_format
        self._descriptor = sys.stdout.fileno()
        self._is_terminal = os.isatty(self._descriptor)

    def take_up(self, rows: int) -> None:
        """Do nothing."""

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Write the lines. Raises `Interrupted` when the reader has closed the pipe."""
        unwritten = b"".join(
            [encode(line_of(outcome, self._format), self._format) for outcome in outcomes]
        )
        if self._is_terminal:
            unwritten = escaped(unwritten.decode()).encode()
        try:
            while unwritten:
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        except BrokenPipeError:
            raise Interrupted(signal.SIGPIPE) from None
        except OSError as error:
            raise StorageError(f"can't write to standard output: {error.strerror}") from None

    def put_back(self) -> None:
        """Do nothing."""
