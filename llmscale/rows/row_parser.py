"""From lines to numbered rows: the part that chats and texts have in common.

A line that can't be used becomes a row that says so: it never stops the job and never vanishes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from llmscale.core.json_depth import MAX_LEVELS, is_too_deep
from llmscale.core.json_text import loads
from llmscale.core.records import Failure, Row
from llmscale.rows.sources import MAX_LINE_BYTES, Line


class BadRow(Exception):
    """Why a line can't be used, as a phrase that follows its place."""


class RowParser(ABC):
    """Makes a row of every line."""

    def __init__(self) -> None:
        self.ignored_fields: set[str] = set()  # names of fields, neither sent nor stored

    def parse(self, index: int, line: Line) -> Row:
        """Return the row of a line; one that can't be used carries its failure."""
        try:
            return self.row_of(index, json_object(line.raw))
        except BadRow as error:
            return bad_row(index, line, error)

    @abstractmethod
    def row_of(self, index: int, fields: dict[str, Any]) -> Row:
        """Return the row of a JSON object. Raises `BadRow`."""


def rows_of(
    parser: RowParser,
    blocks: Iterator[list[Line]],
    limit: int | None = None,
    is_done: Callable[[int], bool] | None = None,
) -> Iterator[list[Row]]:
    """Yield the rows of blocks of lines, numbered from 0, at most `limit`.

    Rows that are done are skipped without being parsed.
    """
    index = 0
    for lines in blocks:
        taken = lines if limit is None else lines[: limit - index]
        numbered = enumerate(taken, index)
        index += len(taken)
        rows = [parser.parse(i, line) for i, line in numbered if not (is_done and is_done(i))]
        if rows:
            yield rows
        if limit is not None and index >= limit:
            return


def bad_row(index: int, line: Line, error: BadRow) -> Row:
    """Return the row of a line that can't be used; its failure says where it is and why."""
    message = f"{line.source} line {line.number}: {error}"
    failure = Failure(kind="bad_row", message=message)
    return Row(index=index, id=row_id_of(line.raw), failure=failure)


def user_of(fields: dict[str, Any]) -> str | None:
    """Return the user whose limits apply to a row."""
    user = fields.get("user")
    return None if user is None else str(user)


def row_id_of(raw: bytes | None) -> str | int | None:
    """Return the id of a line, None where it has none or is not a row."""
    try:
        return id_of(json_object(raw))
    except BadRow:
        return None


def json_object(raw: bytes | None) -> dict[str, Any]:
    """Parse a line as a JSON object. Raises `BadRow`."""
    if raw is None:
        raise BadRow(f"longer than {MAX_LINE_BYTES // 1024**2} MB")
    try:
        fields = loads(raw)
    except ValueError as error:
        raise BadRow(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadRow("not a JSON object")
    if is_too_deep(raw, fields):
        raise BadRow(f"has more than {MAX_LEVELS} levels of JSON")
    return fields


def id_of(fields: dict[str, Any]) -> str | int | None:
    """Return the id of a row. Raises `BadRow`."""
    row_id = fields.get("custom_id")
    row_id = fields.get("id") if row_id is None else row_id
    if row_id is None or (isinstance(row_id, str | int) and not isinstance(row_id, bool)):
        return row_id
    raise BadRow("id is neither text nor a whole number")
