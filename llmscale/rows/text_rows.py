"""From a line to a `Row` that is to be embedded: `{"text": ...}`, with `id`, `user`, `metadata`.

Chunks of files come first, in the same shape, and say where they were found. What rows that follow
say under the same names is theirs.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from llmscale.core.records import Failure, Place, Request, Row
from llmscale.rows.chat_rows import BadRow, bad_row, id_of, json_object, user_of
from llmscale.rows.sources import Line


class TextParser:
    """Reads lines with a text each."""

    def __init__(self, request: Request, chunks: int = 0) -> None:
        """`request`: of every row, but for its text.

        `chunks`: how many of the first rows are chunks of files, or files without any.
        """
        self._without_text = request
        self._chunks = chunks
        self.ignored_fields: set[str] = set()  # none: a row of any shape can have a text

    def parse(self, index: int, line: Line) -> Row:
        """Return the row of a line; one that can't be used carries its failure."""
        try:
            return self._row(index, json_object(line.raw))
        except BadRow as error:
            return bad_row(index, line, error)

    def _row(self, index: int, fields: dict[str, Any]) -> Row:
        is_chunk = index < self._chunks
        failure = _failure(fields) if is_chunk else None
        return Row(
            index=index,
            id=id_of(fields),
            request=self._request(fields) if failure is None else None,
            failure=failure,
            user=user_of(fields),
            metadata=fields.get("metadata"),
            place=msgspec.convert(fields["place"], Place) if is_chunk else None,
        )

    def request_of(self, text: str) -> Request:
        """Return the request of a text."""
        return replace(self._without_text, text=text)

    def _request(self, fields: dict[str, Any]) -> Request:
        text = fields.get("text")
        if not isinstance(text, str):
            raise BadRow('has no "text", or one that is no text')
        if not text or text.isspace():
            raise BadRow("text is empty")
        return self.request_of(text)


def _failure(fields: dict[str, Any]) -> Failure | None:
    """Return why a file can't be read."""
    fault = fields.get("fault")
    return None if fault is None else Failure(kind="bad_row", message=fault)
