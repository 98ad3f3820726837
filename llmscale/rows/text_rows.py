"""Rows of texts to embed: `{"text": ...}`, with `id`, `user`, `metadata`.

Chunks of files come first, in the same shape, and say where they were found; the fields that say so
have no meaning in the rows that follow.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from llmscale.core.records import Failure, Place, Request, Row
from llmscale.rows.row_parser import BadRow, RowParser, id_of, user_of


class TextParser(RowParser):
    """Reads lines with a text each."""

    def __init__(self, request: Request, chunks: int = 0) -> None:
        """`request`: of every row, without its text.

        `chunks`: how many of the first rows are chunks of files, or files without any.
        """
        super().__init__()
        self._without_text = request
        self._chunks = chunks

    def row_of(self, index: int, fields: dict[str, Any]) -> Row:
        """Return the row of a text, or of a file that can't be read."""
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
            raise BadRow('has no "text", or "text" is not a string')
        if not text or text.isspace():
            raise BadRow("text is empty")
        return self.request_of(text)


def _failure(fields: dict[str, Any]) -> Failure | None:
    """Return why a file can't be read."""
    fault = fields.get("fault")
    return None if fault is None else Failure(kind="bad_row", message=fault)
