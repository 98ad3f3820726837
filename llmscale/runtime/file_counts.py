"""How a job goes by its files: for the bar, for the log and for the report."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmscale.core.protocols import OutcomeSink
from llmscale.core.records import Outcome

if TYPE_CHECKING:
    from llmscale.runtime.document_rows import Found


class FileCounts:
    """Counts the files that were found, and those that are complete. None: rows alone."""

    def __init__(self, found: "Found | None" = None) -> None:
        self._found = found

    def keep(self, has_answer: Callable[[int], bool]) -> None:
        """Count the rows that earlier runs have answered."""
        if self._found is not None:
            complete = self._found.complete
            complete.settle(row for row in range(complete.rows) if has_answer(row))

    def counting(self, sink: OutcomeSink) -> OutcomeSink:
        """Return a sink that passes everything on, and counts."""
        return sink if self._found is None else _Counting(sink, self._found.complete.settle)

    def unit(self, rows: int | None) -> str:
        """Return what `rows` of the job are to be called."""
        return "chunk" if self._found is not None and self._found.complete.rows == rows else "row"

    def figures(self) -> dict[str, str]:
        """Return how many files are complete, of all."""
        if self._found is None:
            return {}
        complete = self._found.complete
        return {"files": f"{complete.count:,}/{complete.files:,}"}

    def summary(self) -> dict[str, Any] | None:
        """Return the numbers as JSON."""
        if self._found is None:
            return None
        return {
            "files": self._found.complete.files,
            "failed": self._found.failed,
            "complete": self._found.complete.count,
            "chunks": self._found.chunks,
            "skipped": dict(self._found.skipped),
        }


class _Counting:
    """An `OutcomeSink` that tells which rows have an outcome."""

    def __init__(self, sink: OutcomeSink, settle: Callable[[Sequence[int]], None]) -> None:
        self._sink = sink
        self._settle = settle
        self.take_up = sink.take_up
        self.put_back = sink.put_back

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Pass outcomes on, and count what is safe by then."""
        self._sink.put(outcomes)
        self._settle([outcome.row.index for outcome in outcomes])
