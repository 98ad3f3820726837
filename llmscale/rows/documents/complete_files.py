"""How many files are complete: all their rows have an outcome. Knows rows by index alone.

The rows of a file are neighbours. Memory: 16 bytes a file, whatever its number of chunks.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable


class CompleteFiles:
    """Counts down the rows of each file."""

    def __init__(self) -> None:
        self._ends = array("q")  # the row after the last one of each file
        self._left = array("q")  # rows without an outcome
        self._first = self._end = 0  # rows of the file that was looked up last
        self._file = 0
        self.count = 0

    @property
    def files(self) -> int:
        """The number of all files."""
        return len(self._ends)

    @property
    def rows(self) -> int:
        """The rows of all files; later rows belong to none."""
        return self._ends[-1] if self._ends else 0

    def add(self, rows: int) -> None:
        """Add a file whose rows follow those of the file before."""
        self._ends.append(self.rows + rows)
        self._left.append(rows)
        self.count += not rows

    def mark_done(self, rows: Iterable[int]) -> None:
        """Count rows that have an outcome now; a row of no file is ignored."""
        for row in rows:
            if not self._first <= row < self._end:
                if row >= self.rows:
                    continue
                self._look_up(row)
            self._left[self._file] -= 1
            self.count += not self._left[self._file]

    def _look_up(self, row: int) -> None:
        self._file = bisect_right(self._ends, row)
        self._first = self._ends[self._file - 1] if self._file else 0
        self._end = self._ends[self._file]
