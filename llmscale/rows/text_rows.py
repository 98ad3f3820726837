"""Rows of texts to embed: `{"text": ...}`, with `id`, `user`, `metadata`, or lines of a batch file.

Chunks of files come first, in the same shape, and say where they were found; the fields that say so
have no meaning in the rows that follow.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from llmscale.core.model_name import name_at_provider
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
        if text is None and isinstance(fields.get("body"), dict):
            text = self._input_of(fields["body"], fields.get("url"))
        if not isinstance(text, str):
            raise BadRow('has no "text", or "text" is not a string')
        if not text or text.isspace():
            raise BadRow("text is empty")
        return self.request_of(text)

    def _input_of(self, body: dict[str, Any], url: object) -> object:
        """Return the text of a line of a batch file, which has to fit the job."""
        if not isinstance(url, str) or not url.endswith("/embeddings"):
            raise BadRow(f"url {url!r} is no embedding; llmscale run answers chat completions")
        of_job = self._without_text
        model, dimensions = body.get("model"), body.get("dimensions")
        if model is not None and model not in (of_job.model, name_at_provider(of_job.model)):
            raise BadRow(f"its model {model!r} is not that of the job, {of_job.model}")
        if dimensions is not None and dimensions != of_job.dimensions:
            raise BadRow(f"its dimensions are {dimensions!r}, and those of the job are not")
        texts = body.get("input")
        if isinstance(texts, list) and len(texts) == 1:
            return texts[0]
        if not isinstance(texts, str):
            raise BadRow("input is not one text")
        return texts


def _failure(fields: dict[str, Any]) -> Failure | None:
    """Return why a file can't be read."""
    fault = fields.get("fault")
    return None if fault is None else Failure(kind="bad_row", message=fault)
