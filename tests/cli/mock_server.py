"""`llmscale mock` while a block lasts."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.tool import Process, Run, start, stop


class Mock:
    """A running `llmscale mock`; `ended` is there after its end."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._process = process
        self.base_url = process.stdout.readline().strip()
        self.ended: Run | None = None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Run:
        self.ended = self.ended or stop(self._process, number)
        return self.ended


@contextmanager
def mock(*options: object, cwd: Path) -> Iterator[Mock]:
    """Start it; it is stopped with the block."""
    running = Mock(start("mock", *options, cwd=cwd))
    try:
        yield running
    finally:
        running.stop()
