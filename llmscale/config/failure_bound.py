"""How many rows of a run may fail before it ends: `20`, or `5%`.

Only the grammar and the comparison; `runtime/failure_watch` counts.
"""

import re
from typing import NamedTuple, Self

MIN_ROWS = 20  # before which a share says little

_COUNT = re.compile(r"[0-9]{1,12}")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)%")


class FailureBound(NamedTuple):
    """A count or a share of failed rows that ends a run."""

    text: str  # as written
    rows: int | None = None
    share: float | None = None  # of the rows with an outcome

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Return the bound of a text. Raises `ValueError` with what it takes."""
        text = str(text).strip()
        share = _SHARE.fullmatch(text)
        if share and 0 < float(share[1]) <= 100:
            return cls(text, share=float(share[1]) / 100)
        if _COUNT.fullmatch(text) and int(text):
            return cls(text, rows=int(text))
        raise ValueError(
            f"invalid bound {text!r}; write a number of rows such as 20, or a share such as 5%"
        )

    def is_reached(self, failed: int, done: int) -> bool:
        """Tell whether so many failed rows end a run; `done` rows have an outcome."""
        if self.share is None:
            return failed >= (self.rows or 0)
        return done >= MIN_ROWS and failed > self.share * done
