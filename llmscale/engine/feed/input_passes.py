"""The input read once, and again for the rows that were left in it because there was no space.

A mark of two bytes says of each row whether it was taken, or to which group of users it belongs
(a hash of the name), so that a further pass parses only rows that are wanted. Memory does not grow
with what is left behind.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator

from llmscale.core.records import Row

IsDone = Callable[[int], bool]
Read = Callable[[IsDone | None], Iterator[list[Row]]]
"""Opens the input at its beginning and leaves out the rows that are done, unparsed."""

_NEW, _TAKEN, _FIRST_GROUP = 0, 1, 2
_GROUPS = 2**16 - _FIRST_GROUP


class InputPasses:
    """Which rows of the input are left, and whose are missed."""

    def __init__(self, read: Read, rows: int | None) -> None:
        """`rows` of the input; None: it can be read only once, and nothing can be left behind."""
        self._read = read
        self.can_leave = rows is not None
        self._marks = array("H", bytes(2 * (rows or 0)))
        self._left: Counter[int] = Counter()  # rows by group
        self._missed: dict[int, int] = {}  # groups without a row at hand, and the pass that was
        self._number = 0

    @property
    def looks_further(self) -> bool:
        """Tell whether rows without space are to be left behind, to find those of other users.

        In the first pass nobody knows who comes; later somebody has to be missed.
        """
        return self.can_leave and (self._number == 1 or bool(self._missed))

    def open(self) -> Iterator[list[Row]] | None:
        """Return the rows that are left, None where there are none. Every row of the pass before
        has to be taken or left by now.
        """
        if self._number and not self._left:
            return None
        self._number += 1
        # who was missed before the last pass began and was not found in it, is not there
        self._missed = {g: n for g, n in self._missed.items() if n > self._number - 2}
        return self._read(self._is_done if self.can_leave else None)

    def take(self, row: Row) -> None:
        """Note that a row need not be read again."""
        if not self.can_leave:
            return
        self._missed.pop(_group(row.user), None)
        group = self._marks[row.index]
        self._marks[row.index] = _TAKEN
        if group < _FIRST_GROUP:
            return
        self._left[group] -= 1
        if not self._left[group]:
            del self._left[group]
            self._missed.pop(group, None)

    def leave(self, row: Row) -> None:
        """Note that a row is to be read again."""
        if self._marks[row.index] == _NEW:
            group = self._marks[row.index] = _group(row.user)
            self._left[group] += 1

    def miss(self, user: str | None) -> None:
        """Look for rows of this user, if there may be any."""
        group = _group(user)
        if group in self._left:
            self._missed[group] = self._number

    def _is_done(self, index: int) -> bool:
        """Called from the thread that reads, with marks as they happen to be: a row that is left
        out by mistake stays marked for the next pass.
        """
        mark = self._marks[index]
        if mark < _FIRST_GROUP:
            return mark == _TAKEN
        return bool(self._missed) and mark not in self._missed


def _group(user: str | None) -> int:
    return hash(user) % _GROUPS + _FIRST_GROUP
