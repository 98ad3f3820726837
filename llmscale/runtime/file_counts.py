"""The progress of a job in files: for the bar, the log and the report."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmscale.accounting.run_numbers import DocumentCounts
from llmscale.core.protocols import OutcomeSink
from llmscale.core.records import Outcome

if TYPE_CHECKING:
    from llmscale.runtime.document_rows import Found


class FileCounts:
    """Counts the files that were found, and those that are complete."""

    def __init__(self, found: "Found | None" = None) -> None:
        """`found` None: the input is rows alone."""
        self._found = found

    def resume(self, is_done: Callable[[int], bool]) -> None:
        """Count the rows that earlier runs have answered."""
        if self._found is not None:
            complete = self._found.complete
            complete.mark_done(row for row in range(complete.rows) if is_done(row))

    def counting(self, sink: OutcomeSink) -> OutcomeSink:
        """Return a sink that forwards everything, and counts."""
        return sink if self._found is None else _Counting(sink, self._found.complete.mark_done)

    def unit(self, rows: int | None) -> str:
        """Return the word for a row of a job of `rows` rows."""
        return "chunk" if self._found is not None and self._found.complete.rows == rows else "row"

    def figures(self) -> dict[str, str]:
        """Return how many of all files are complete."""
        if self._found is None:
            return {}
        complete = self._found.complete
        return {"files": f"{complete.count:,}/{complete.files:,}"}

    def summary(self) -> DocumentCounts | None:
        """Return the numbers; None: the input is rows alone."""
        found = self._found
        if found is None:
            return None
        complete = found.complete
        return DocumentCounts(
            complete.files, found.failed, complete.count, found.chunks, dict(found.skipped)
        )


class _Counting:
    """An `OutcomeSink` that reports which rows have an outcome."""

    def __init__(self, sink: OutcomeSink, mark_done: Callable[[Sequence[int]], None]) -> None:
        self._sink = sink
        self._mark_done = mark_done
        self.take_up = sink.take_up
        self.put_back = sink.put_back

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Forward outcomes, and count those that are stored."""
        self._sink.put(outcomes)
        self._mark_done([outcome.row.index for outcome in outcomes])
