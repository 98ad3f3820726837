"""What failed rows have met, by message: how many rows each, and one of them.

Bounded: messages that differ in numbers alone are one, and beyond the first hundreds all are one.
"""

import re

from llmscale.accounting.stats.summaries import FailureSummary
from llmscale.core.records import Outcome

MAX_MESSAGES = 500
MAX_CHARACTERS = 200  # of a message
REPORTED = 10  # messages

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_OTHERS = ("", "other messages")


class Failures:
    """The messages of failed rows."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], FailureSummary] = {}

    def add(self, outcome: Outcome) -> None:
        """Count a failed row."""
        failure = outcome.failure
        if failure is None:
            return
        message = failure.message[:MAX_CHARACTERS]
        row_id = outcome.row.id
        self._count(
            _alike(failure.kind, message),
            FailureSummary(failure.kind, message, 1, outcome.row.index, row_id),
        )

    def merge(self, other: "Failures") -> None:
        """Take in another count."""
        for key, found in other._known.items():
            self._count(key, found)

    def summary(self) -> list[FailureSummary]:
        """Return the messages of most rows, the most frequent first."""
        ranked = sorted(self._known.values(), key=lambda found: (-found.count, found.row))
        return ranked[:REPORTED]

    def _count(self, key: tuple[str, str], found: FailureSummary) -> None:
        if key not in self._known and len(self._known) >= MAX_MESSAGES:
            key = _OTHERS
            found = FailureSummary("", "other messages", found.count, found.row, found.id)
        known = self._known.get(key)
        self._known[key] = found if known is None else known.plus(found.count)


def _alike(kind: str, message: str) -> tuple[str, str]:
    """Return what messages have in common that differ in their numbers alone."""
    return kind, _NUMBER.sub("#", message)
