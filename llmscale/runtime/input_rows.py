"""The rows of one `Session.answer`: from files, from a stream, or from memory."""

import threading
from collections.abc import Iterator, Sequence
from itertools import chain, takewhile
from typing import NamedTuple

from llmscale.core.records import Row
from llmscale.engine.feed.input_passes import IsDone, Read
from llmscale.rows.row_parser import RowParser, rows_of
from llmscale.rows.sources import Line, Source, blocks_of_lines


class InputRows(NamedTuple):
    """Rows in blocks, in the order of the input."""

    read: Read
    total: int | None  # None: not known, and it can be read only once
    stopped: threading.Event

    def stop(self) -> None:
        """Read no further, wherever the reading thread is."""
        self.stopped.set()


class LineReader:
    """Reads the lines of sources until it is stopped."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._begun: Iterator[list[Line]] | None = None
        self.stopped = threading.Event()

    def first(self) -> Line | None:
        """Return the first line, None where there is none; the next `lines` begin with it."""
        lines = self.lines()
        block = next(lines, [])
        self._begun = chain([block], lines)
        return block[0] if block else None

    def lines(self) -> Iterator[list[Line]]:
        """Return the lines of all sources from their beginning, in blocks."""
        begun, self._begun = self._begun, None
        if begun is not None:
            return begun
        lines = blocks_of_lines(self._sources, self.stopped)
        return takewhile(lambda _: not self.stopped.is_set(), lines)

    def rows(
        self, parser: RowParser, total: int | None, limit: int | None, is_done: IsDone | None = None
    ) -> InputRows:
        """Return the rows of the lines, `limit` at most, without those that are done."""

        def read(also_done: IsDone | None) -> Iterator[list[Row]]:
            return rows_of(parser, self.lines(), limit, either(is_done, also_done))

        return InputRows(read, total, self.stopped)


def rows_in_memory(rows: Sequence[Row]) -> InputRows:
    """Return rows that are there already, as one block."""

    def read(is_done: IsDone | None) -> Iterator[list[Row]]:
        left = [row for row in rows if is_done is None or not is_done(row.index)]
        return iter([left] if left else [])

    return InputRows(read, len(rows), threading.Event())


def either(first: IsDone | None, second: IsDone | None) -> IsDone | None:
    """Return what leaves out the rows that one or the other leaves out."""
    if first is None or second is None:
        return first or second
    return lambda index: first(index) or second(index)
