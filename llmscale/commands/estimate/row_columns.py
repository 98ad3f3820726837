"""The rows of an input as columns of numbers, and which of them a run sends."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNBOUNDED = 2**32 - 1
"""In place of a number of tokens: nothing bounds it."""

Mask = NDArray[np.bool_]
Counts = NDArray[np.uint32]


class RowColumns(NamedTuple):
    """One value per row of the input, in input order."""

    is_row: Mask  # False: the line can't be parsed
    answered: Mask  # in OUT
    cached: Mask  # not in OUT, but in the cache
    first: Mask  # no earlier row makes the same request
    asked: Mask  # a run sends it
    repeated: Mask  # not sent, because an earlier row that is sent makes the same request
    models: Counts  # number of the model
    users: Counts  # number of the user; 0: none
    sizes: Counts  # bytes of what the model reads
    text_sizes: Counts  # characters of the texts in it
    max_input: Counts  # tokens
    max_output: Counts  # tokens


class Selection(NamedTuple):
    """The rows that a run sends, times a scale."""

    asked: Mask
    repeated: Mask  # the same requests as some of `asked`
    scale: float = 1.0
    from_scratch: bool = False  # nothing is in OUT or in the cache

    @property
    def rows(self) -> float:
        """Number of rows that are sent, each request once."""
        return float(self.asked.sum()) * self.scale

    def total(self, column: Counts) -> float:
        """Return the sum of a column over the rows that are sent."""
        return float(column[self.asked].sum(dtype=np.int64)) * self.scale

    def with_repeated(self) -> "Selection":
        """Return a selection that sends repeated requests too, as where no answer is cached."""
        return self._replace(
            asked=self.asked | self.repeated, repeated=np.zeros_like(self.repeated)
        )

    def where(self, mask: Mask) -> "Selection":
        """Return the rows of the selection that are in `mask` too."""
        return self._replace(asked=self.asked & mask, repeated=self.repeated & mask)


def select_rows(columns: RowColumns, scale: float | None) -> Selection:
    """Return what a run sends now; with `scale`, all rows that many times, from scratch."""
    if scale is None:
        return Selection(columns.asked, columns.repeated)
    return Selection(columns.first, columns.is_row & ~columns.first, scale, from_scratch=True)
