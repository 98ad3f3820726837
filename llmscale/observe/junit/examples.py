"""A few rows of each type of failure, collected before outcomes are written."""

from collections.abc import Sequence
from typing import NamedTuple

from llmscale.core.protocols import OutcomeSink
from llmscale.core.records import Outcome

MAX_EXAMPLES = 5  # of each type


class Example(NamedTuple):
    """A row that failed."""

    row: int  # its index
    id: str | int | None
    message: str


class Examples:
    """Sees the outcomes that go to `sink`; of those that failed it keeps the first few."""

    def __init__(self, sink: OutcomeSink) -> None:
        self._sink = sink
        self.kept: dict[str, list[Example]] = {}  # by type

    def take_up(self, rows: int) -> None:
        """Pass it on."""
        self._sink.take_up(rows)

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what failed, and pass all of it on. Raises `StorageError`."""
        for outcome in outcomes:
            if outcome.failure is not None:
                kept = self.kept.setdefault(outcome.failure.kind, [])
                if len(kept) < MAX_EXAMPLES:
                    row = outcome.row
                    kept.append(Example(row.index, row.id, outcome.failure.message))
        self._sink.put(outcomes)

    def put_back(self) -> None:
        """Pass it on."""
        self._sink.put_back()
