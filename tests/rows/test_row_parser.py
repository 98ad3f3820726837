"""Lines become numbered rows, each with its id; what can't be used is a row that says so."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from llmscale.config import SamplingConfig
from llmscale.rows import row_parser as module
from llmscale.rows.chat_rows import ChatParser
from llmscale.rows.row_parser import row_id_of, rows_of
from llmscale.rows.sources import Line

PARSER = ChatParser("sim/a", SamplingConfig())


def line(fields: object, number: int = 7) -> Line:
    return Line("in.jsonl", number, orjson.dumps(fields))


@pytest.mark.parametrize(
    ("fields", "row_id"),
    [
        ({"id": "a"}, "a"),
        ({"id": 5}, 5),
        ({"id": ""}, ""),
        ({"custom_id": "c"}, "c"),
        ({"id": "a", "custom_id": "c"}, "c"),
        ({"id": None}, None),
        ({}, None),
        ({"id": 2**64 - 1}, 2**64 - 1),
    ],
)
def test_an_id_is_text_or_a_whole_number(fields: dict[str, Any], row_id: object) -> None:
    assert PARSER.parse(0, line({"prompt": "hello", **fields})).id == row_id
    assert row_id_of(orjson.dumps(fields)) == row_id


@pytest.mark.parametrize("raw", [None, b"", b"5", b"{", b'{"id": 1.5}', b'{"id": true}'])
def test_what_has_no_usable_id_has_none(raw: bytes | None) -> None:
    assert row_id_of(raw) is None


def test_a_line_that_is_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 5 * 1024 * 1024)
    row = PARSER.parse(0, Line("in.jsonl", 1, None))
    assert row.failure is not None
    assert row.failure.message == "in.jsonl line 1: longer than 5 MB"


def numbered(*sizes: int) -> list[list[Line]]:
    """Blocks of lines of these sizes, each line with its index as its prompt."""
    blocks, index = [], 0
    for size in sizes:
        blocks.append([line({"prompt": str(i)}, i + 1) for i in range(index, index + size)])
        index += size
    return blocks


def indexes(
    sizes: tuple[int, ...], limit: int | None, is_done: Callable[[int], bool] | None = None
) -> list[list[int]]:
    found = list(rows_of(PARSER, iter(numbered(*sizes)), limit, is_done))
    for row in (row for rows in found for row in rows):
        assert row.request is not None
        assert row.request.messages[0]["content"] == str(row.index)
    return [[row.index for row in rows] for rows in found]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, [[0, 1, 2], [3, 4], [5]]),
        (6, [[0, 1, 2], [3, 4], [5]]),
        (7, [[0, 1, 2], [3, 4], [5]]),
        (5, [[0, 1, 2], [3, 4]]),
        (4, [[0, 1, 2], [3]]),
        (3, [[0, 1, 2]]),
        (1, [[0]]),
        (0, []),
    ],
)
def test_rows_are_numbered_over_all_blocks_up_to_the_limit(
    limit: int | None, expected: list[list[int]]
) -> None:
    assert indexes((3, 2, 1), limit) == expected


def test_rows_that_are_done_are_left_out_and_keep_their_number() -> None:
    assert indexes((3, 2, 1), None, {0, 2, 3, 4}.__contains__) == [[1], [5]]
    assert indexes((3, 2, 1), 4, {1}.__contains__) == [[0, 2], [3]]


def test_nothing_is_read_beyond_the_limit() -> None:
    blocks = iter(numbered(2, 2, 2))
    assert len(list(rows_of(PARSER, blocks, 2))) == 1
    assert len(list(blocks)) == 2
