"""Rows that are to be embedded: a text each, or one sentence that says why there is none."""

from typing import Any

import orjson
import pytest

from llmscale.core.records import Place, Request
from llmscale.rows.sources import Line
from llmscale.rows.text_rows import TextParser

WITHOUT_TEXT = Request(model="openai/v", dimensions=8, extra={"input_type": "query"})


def parsed(row: Any, chunks: int = 0) -> Any:
    raw = row if isinstance(row, bytes) else orjson.dumps(row)
    return TextParser(WITHOUT_TEXT, chunks).parse(3, Line("in.jsonl", 4, raw))


def test_a_row_becomes_a_request_with_model_dimensions_and_further_fields() -> None:
    row = parsed({"text": "hello", "id": "a", "user": 7, "metadata": {"x": 1}})
    assert row.request == Request(
        model="openai/v", text="hello", dimensions=8, extra={"input_type": "query"}
    )
    assert (row.index, row.id, row.user, row.metadata, row.place) == (3, "a", "7", {"x": 1}, None)


def batch_line(url: str = "/v1/embeddings", **body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "method": "POST", "url": url, "body": {"input": "hello"} | body}


@pytest.mark.parametrize(
    "line", [batch_line(model="v", dimensions=8), batch_line("/embeddings", input=["hello"])]
)
def test_a_line_of_a_batch_file_is_a_text(line: dict[str, Any]) -> None:
    assert (parsed(line).request.text, parsed(line).id) == ("hello", "a")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (batch_line(model="w"), "model 'w' is not that of the job"),
        (batch_line(dimensions=9), "dimensions are 9"),
        (batch_line(input=["a", "b"]), "not one text"),
        (batch_line("/v1/chat/completions"), "llmscale run answers"),
    ],
)
def test_a_line_of_a_batch_file_that_does_not_fit_the_job_is_refused(
    line: dict[str, Any], complaint: str
) -> None:
    assert complaint in parsed(line).failure.message


PLACE = {"source": "a.md", "start": 2, "end": 7}


def test_a_chunk_says_where_it_was_found() -> None:
    assert parsed({"text": "hello", "place": PLACE}, chunks=4).place == Place("a.md", 2, 7)


def test_a_file_that_could_not_be_read_is_a_row_with_that_failure() -> None:
    row = parsed({"id": "b.bin", "fault": "b.bin is binary", "place": PLACE}, chunks=4)
    assert row.request is None
    assert row.failure.message == "b.bin is binary"
    assert row.place == Place("a.md", 2, 7)


@pytest.mark.parametrize("place", [PLACE, None, "a.md", {"source": 1}])
def test_a_foreign_row_means_other_things_by_the_same_names(place: Any) -> None:
    row = parsed({"text": "hello", "fault": "a broken wire", "place": place}, chunks=3)
    assert row.request.text == "hello"
    assert (row.failure, row.place) == (None, None)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({}, 'has no "text", or "text" is not a string'),
        ({"text": 7}, 'has no "text", or "text" is not a string'),
        ({"text": None}, 'has no "text", or "text" is not a string'),
        ({"text": " \n"}, "text is empty"),
        ({"text": "x", "id": []}, "id is neither text nor a whole number"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"text": ' + b"[" * 200 + b"]" * 200 + b"}", "levels of JSON"),
    ],
)
def test_what_can_not_be_embedded_says_where_and_why(row: Any, complaint: str) -> None:
    found = parsed(row)
    assert found.request is None
    assert found.failure.kind == "bad_row"
    assert found.failure.message.startswith("in.jsonl line 4: ")
    assert complaint in found.failure.message
