"""Counts the rows of an input before a run: models, users, sizes, and which rows a run sends.

A row is not sent if its answer is in OUT or in the cache, or if an earlier row makes the same
request. Counting sends nothing and is no use of the cache.

Memory: 33 bytes per row, and twice as much again while keys are compared.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmscale.accounting.token_bounds import (
    CALL_TOKENS,
    Unbounded,
    max_input_tokens,
    max_output_tokens,
)
from llmscale.accounting.tokens import input_bytes
from llmscale.commands.estimate.cached_answers import Lookup, cached_answers
from llmscale.commands.estimate.row_columns import UNBOUNDED, RowColumns
from llmscale.config import Config
from llmscale.core.cache_records import Entry
from llmscale.core.records import Request, Row
from llmscale.engine.cache.keys import key_of
from llmscale.rows.row_parser import rows_of
from llmscale.rows.sources import Source, blocks_of_lines
from llmscale.runtime.costs import max_answer_tokens_of
from llmscale.runtime.models import Models
from llmscale.runtime.workload import chat_parser

_BAD, _OPEN, _CACHED, _ANSWERED = range(4)


class CacheSavings:
    """Rows that the cache answers, and what their answers have cost."""

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0
        self._usd = 0.0
        self._unpriced = 0

    @property
    def known_usd(self) -> float | None:
        """Dollars; None where the price of one answer is unknown."""
        return None if self._unpriced else round(self._usd, 9)

    def add(self, entry: Entry) -> None:
        """Count one more row."""
        usage, usd = entry.reply.usage, entry.reply.cost_usd
        self.rows += 1
        self.tokens += usage.total_tokens
        self._usd += usd or 0.0
        self._unpriced += usd is None


class InputCounts:
    """What is known about the rows before any is sent."""

    def __init__(self, max_answer_tokens: Callable[[str], int | None]) -> None:
        """`max_answer_tokens` of a model applies where a request sets no limit itself."""
        self.models: list[str] = []
        self.users: list[str | None] = [None]
        self.cache_savings = CacheSavings()
        self.unbounded: str | None = None  # why the first row without a bound has none
        self._max_answer_tokens_of = max_answer_tokens
        self._number_of_model: dict[str, int] = {}
        self._number_of_user: dict[str, int] = {}
        self._states = bytearray()
        self._keys = array("Q")  # the first 8 bytes of each
        self._columns = tuple(array("I") for _ in range(4))  # sizes, text sizes, bounds
        self._models_of_rows, self._users_of_rows = array("I"), array("I")

    def add(self, rows: Sequence[Row], lookup: Lookup, answered: bytearray) -> None:
        """Count rows, in input order. `answered`: for rows from 0 on, whether OUT has an answer."""
        keys = [None if row.request is None else key_of(row.request) for row in rows]
        wanted = [key for key in keys if key is not None]
        cached = lookup(wanted) if wanted else {}
        for row, key in zip(rows, keys, strict=True):
            is_answered = row.index < len(answered) and bool(answered[row.index])
            if key is None:
                state = _BAD
            elif is_answered:
                state = _ANSWERED
            elif key in cached:
                state = _CACHED
                self.cache_savings.add(cached[key])
            else:
                state = _OPEN
            self._states.append(state)
            self._add(row, key)

    def columns(self, *, deduplicates: bool) -> RowColumns:
        """Return all rows. `deduplicates`: of equal requests a run sends only the first."""
        states, keys = np.asarray(self._states), np.asarray(self._keys)
        is_row, is_open = states != _BAD, states == _OPEN
        first = _first_of_its_key(keys, is_row) if deduplicates else is_row
        asked = _first_of_its_key(keys, is_open) if deduplicates else is_open
        sizes, text_sizes, max_input, max_output = map(np.asarray, self._columns)
        return RowColumns(
            is_row=is_row,
            answered=states == _ANSWERED,
            cached=states == _CACHED,
            first=first,
            asked=asked,
            repeated=is_open & ~asked,
            models=np.asarray(self._models_of_rows),
            users=np.asarray(self._users_of_rows),
            sizes=sizes,
            text_sizes=text_sizes,
            max_input=max_input,
            max_output=max_output,
        )

    def _add(self, row: Row, key: str | None) -> None:
        request = row.request
        self._keys.append(0 if key is None else int(key[:16], 16))
        model, user, values = 0, 0, (0, 0, 0, 0)
        if request is not None:
            model = _number(self._number_of_model, self.models, request.model)
            if row.user is not None:
                user = _number(self._number_of_user, self.users, row.user)
            values = (input_bytes(request), _text_size(request), *self._bounds(request))
        self._models_of_rows.append(model)
        self._users_of_rows.append(user)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def _bounds(self, request: Request) -> tuple[int, int]:
        """Return the most tokens in and out, without what a server may add around messages."""
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


def count_input(
    config: Config, models: Models, sources: Sequence[Source], answered: bytearray
) -> InputCounts:
    """Read an input once and return its counts. `answered`: as in `InputCounts.add`."""
    counts = InputCounts(max_answer_tokens_of(config.cost))
    parser = chat_parser(config, models)
    with cached_answers(config.cache) as lookup:
        for rows in rows_of(parser, blocks_of_lines(sources), config.files.limit):
            counts.add(rows, lookup, answered)
    return counts


def _first_of_its_key(keys: NDArray[np.uint64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of those rows in `among` that are the first with their key."""
    positions = np.flatnonzero(among)
    _, first = np.unique(keys[positions], return_index=True)
    found = np.zeros(len(keys), np.bool_)
    found[positions[first]] = True
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
