"""One look at every row before a run: its model, its size, and whether it would be asked at all.

A row is not asked where its answer is in OUT or in the cache, and where an earlier row of the input
asks the same. Looking is no use of the cache, and nothing is sent.

Memory: 33 bytes for each row, and twice as many again while they are compared.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmscale.accounting.token_bounds import (
    CALL_TOKENS,
    Unbounded,
    max_input_tokens,
    max_output_tokens,
)
from llmscale.accounting.tokens import characters
from llmscale.commands.estimate.cached_answers import Lookup, stored_answers
from llmscale.config import Config
from llmscale.core.records import Request, Row
from llmscale.engine.cache.entry import Entry
from llmscale.engine.cache.keys import key_of
from llmscale.rows.row_parser import rows_of
from llmscale.rows.sources import Source, blocks_of_lines
from llmscale.runtime.costs import max_answer_tokens_of
from llmscale.runtime.models import Models
from llmscale.runtime.workload import chat_parser

UNBOUNDED = 2**32 - 1
"""In the place of a number of tokens: nothing bounds it."""

_BAD, _OPEN, _STORED, _ANSWERED = range(4)

Counts = NDArray[np.uint32]


class Saved:
    """What rows with a stored answer do not cost."""

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0
        self._usd = 0.0
        self._unpriced = 0

    @property
    def known_usd(self) -> float | None:
        """Dollars, None where the price of one of them is not known."""
        return None if self._unpriced else round(self._usd, 9)

    def add(self, entry: Entry) -> None:
        """Count one more."""
        usage, usd = entry.reply.usage, entry.reply.cost_usd
        self.rows += 1
        self.tokens += usage.input_tokens + usage.output_tokens
        self._usd += usd or 0.0
        self._unpriced += usd is None


class Columns(NamedTuple):
    """The rows, a column each."""

    is_row: NDArray[np.bool_]  # else the line can't be used
    answered: NDArray[np.bool_]  # in OUT
    stored: NDArray[np.bool_]  # in the cache
    first: NDArray[np.bool_]  # the first in the input to ask what it asks
    asked: NDArray[np.bool_]  # a run sends it
    repeated: NDArray[np.bool_]  # a row that is asked asks the same
    models: Counts
    users: Counts  # 0: none
    sizes: Counts  # characters of what is sent, as JSON
    text_sizes: Counts  # characters of the texts in it
    max_input: Counts  # tokens
    max_answer_tokens: Counts


class Extent(NamedTuple):
    """Which rows a run sends, and how many times."""

    asked: NDArray[np.bool_]
    repeated: NDArray[np.bool_]  # ask the same as one of these
    times: float = 1.0
    afresh: bool = False  # no answer is there before

    @property
    def rows(self) -> float:
        """How many are sent, where one of equal rows is."""
        return float(self.asked.sum()) * self.times

    def total(self, column: Counts) -> float:
        """Return the sum of a column over them."""
        return float(column[self.asked].sum(dtype=np.int64)) * self.times

    def with_repeated(self) -> "Extent":
        """Return all of them, as they are sent where no answer can be kept."""
        return Extent(
            self.asked | self.repeated, np.zeros_like(self.repeated), self.times, self.afresh
        )

    def within(self, own: NDArray[np.bool_]) -> "Extent":
        """Return those that are some."""
        return self._replace(asked=self.asked & own, repeated=self.repeated & own)


def extent(columns: Columns, scale: float | None) -> Extent:
    """Return what a run sends now; or with `scale` so many times the rows, none answered before."""
    if scale is None:
        return Extent(columns.asked, columns.repeated)
    return Extent(columns.first, columns.is_row & ~columns.first, scale, afresh=True)


class InputCounts:
    """What is known of the rows without asking one."""

    def __init__(self, max_answer_tokens: Callable[[str], int | None]) -> None:
        """`max_answer_tokens`: of a model, where the request sets no bound itself."""
        self.models: list[str] = []
        self.users: list[str | None] = [None]
        self.saved = Saved()
        self.unbounded: str | None = None  # why nothing bounds a row, of the first such row
        self._max_answer_tokens_of = max_answer_tokens
        self._number_of_model: dict[str, int] = {}
        self._number_of_user: dict[str, int] = {}
        self._states = bytearray()
        self._keys = array("Q")  # the first 8 bytes of each
        self._columns = tuple(array("I") for _ in range(4))  # sizes, text sizes, bounds
        self._models_of_rows, self._users_of_rows = array("I"), array("I")

    def add(self, rows: Sequence[Row], lookup: Lookup, answered: bytearray) -> None:
        """Count rows, in the order of the input."""
        keys = [None if row.request is None else key_of(row.request) for row in rows]
        wanted = [key for key in keys if key is not None]
        stored = lookup(wanted) if wanted else {}
        for row, key in zip(rows, keys, strict=True):
            state = _BAD
            if key is not None:
                state = _OPEN
                if row.index < len(answered) and answered[row.index]:
                    state = _ANSWERED
                elif key in stored:
                    state = _STORED
                    self.saved.add(stored[key])
            self._states.append(state)
            self._add(row, key)

    def columns(self, *, shares: bool) -> Columns:
        """Return all rows. `shares`: equal rows share an answer, so that one of them is asked."""
        states, keys = np.asarray(self._states), np.asarray(self._keys)
        is_row, is_open = states != _BAD, states == _OPEN
        first = _first_of_its_key(keys, is_row) if shares else is_row
        asked = _first_of_its_key(keys, is_open) if shares else is_open
        sizes, text_sizes, max_input, max_answer_tokens = map(np.asarray, self._columns)
        return Columns(
            is_row=is_row,
            answered=states == _ANSWERED,
            stored=states == _STORED,
            first=first,
            asked=asked,
            repeated=is_open & ~asked,
            models=np.asarray(self._models_of_rows),
            users=np.asarray(self._users_of_rows),
            sizes=sizes,
            text_sizes=text_sizes,
            max_input=max_input,
            max_answer_tokens=max_answer_tokens,
        )

    def _add(self, row: Row, key: str | None) -> None:
        request = row.request
        self._keys.append(0 if key is None else int(key[:16], 16))
        model, user, figures = 0, 0, (0, 0, 0, 0)
        if request is not None:
            model = _number(self._number_of_model, self.models, request.model)
            if row.user is not None:
                user = _number(self._number_of_user, self.users, row.user)
            figures = (characters(request), _text_size(request), *self._bounds(request))
        self._models_of_rows.append(model)
        self._users_of_rows.append(user)
        for column, figure in zip(self._columns, figures, strict=True):
            column.append(figure)

    def _bounds(self, request: Request) -> tuple[int, int]:
        """Return the most tokens in and out: what a server may put around messages is left out."""
        return (
            self._bound(lambda: max_input_tokens(request) - CALL_TOKENS),
            self._bound(
                lambda: max_output_tokens(request, self._max_answer_tokens_of(request.model))
            ),
        )

    def _bound(self, tokens: Callable[[], int]) -> int:
        try:
            return min(tokens(), UNBOUNDED - 1)
        except Unbounded as why:
            self.unbounded = self.unbounded or str(why)
            return UNBOUNDED


def taken(
    config: Config, models: Models, sources: Sequence[Source], answered: bytearray
) -> InputCounts:
    """Return the census of an input. `answered`: for rows from 0 on, whether OUT has an answer."""
    census = InputCounts(max_answer_tokens_of(config.cost))
    parser = chat_parser(config, models)
    with stored_answers(config.cache) as lookup:
        for rows in rows_of(parser, blocks_of_lines(sources), config.files.limit):
            census.add(rows, lookup, answered)
    return census


def _first_of_its_key(keys: NDArray[np.uint64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows are the first of theirs, among some."""
    places = np.flatnonzero(among)
    _, first = np.unique(keys[places], return_index=True)
    found = np.zeros(len(keys), np.bool_)
    found[places[first]] = True
    return found


def _number(numbers: dict[str, int], names: list[Any], name: str) -> int:
    found = numbers.get(name)
    if found is None:
        found = numbers[name] = len(names)
        names.append(name)
    return found


def _text_size(request: Request) -> int:
    return sum(map(_text_of_content, request.messages))


def _text_of_content(message: Any) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return len(content)
    parts = content if isinstance(content, list) else ()
    return sum(
        len(part["text"])
        for part in parts
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )
