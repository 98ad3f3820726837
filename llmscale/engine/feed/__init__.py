"""Rows for the pipeline: in the order of the input, or user by user.

Reads ahead in a thread, and no further than there is space. Sends nothing and writes nothing.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from llmscale.core.records import Outcome, Row


class Feed(Protocol):
    """Hands out each row of the input once."""

    @property
    def waits_for(self) -> Literal["users", "reading"]:
        """What the next row waits for, where there is one to come."""
        ...

    @property
    def has_ended(self) -> bool:
        """Tell whether it is known that no further row will come."""
        ...

    async def take(self, max_rows: int) -> Sequence[Row]:
        """Return rows that may be worked on, as soon as there is one, and at most `max_rows`; none
        at the end or after `stop`. Only one caller may wait for rows at a time.

        Raises `StorageError` when the input can't be read.
        """
        ...

    def reconcile(self, outcome: Outcome) -> None:
        """Note the outcome of a row, for those that wait for its user."""
        ...

    def stop(self) -> None:
        """Let nothing wait any longer for a row."""
        ...
