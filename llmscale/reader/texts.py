"""From a line to a `Row` that is to be embedded: `{"text": ...}`, with `id`, `user`, `metadata`.

A chunk of a file comes in the same shape, and says where it was found.
"""

from typing import Any

import msgspec

from llmscale.config import Config
from llmscale.reader.rows import BadRow, bad_row, id_of, json_object, user_of
from llmscale.reader.sources import Line
from llmscale.records import Failure, Place, Request, Row


class TextParser:
    """Reads lines with a text each."""

    def __init__(self, config: Config) -> None:
        self._model = config.default_model
        self._dimensions = config.embed_dimensions
        self._extra = dict(config.param) or None
        self.ignored_fields: set[str] = set()  # none: a row of any shape can have a text

    def parse(self, index: int, line: Line) -> Row:
        """Return the row of a line; one that can't be used carries its failure."""
        try:
            return self._row(index, json_object(line.raw))
        except BadRow as error:
            return bad_row(index, line, error)

    def _row(self, index: int, fields: dict[str, Any]) -> Row:
        row = Row(
            index=index,
            id=id_of(fields),
            user=user_of(fields),
            metadata=fields.get("metadata"),
            place=_place(fields),
        )
        if isinstance(fields.get("fault"), str):  # a file that can't be read
            failure = Failure(kind="bad_row", message=fields["fault"])
            return msgspec.structs.replace(row, failure=failure)
        text = fields.get("text")
        if not isinstance(text, str):
            raise BadRow('has no "text", or one that is no text')
        if not text.strip():
            raise BadRow("text is empty")
        request = Request(
            model=self._model, text=text, dimensions=self._dimensions, extra=self._extra
        )
        return msgspec.structs.replace(row, request=request)


def _place(fields: dict[str, Any]) -> Place | None:
    try:
        return msgspec.convert(fields["place"], Place)
    except (KeyError, msgspec.ValidationError):
        return None
