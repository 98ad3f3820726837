"""Which rows the cache would answer, and why it would not answer others."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from llmscale.commands import cache as cache_use
from llmscale.commands.cache import Explanation, Miss
from llmscale.commands.cache.explanation import MAX_EXPLAINED
from llmscale.core.errors import ConfigError
from llmscale.core.records import Request
from tests.commands.cache import config, write_lines
from tests.engine.cache import (
    DAY_S,
    fill,
    questions,
    request,
    sql,
)


def line_of(asked: Request, **fields: Any) -> bytes:
    """Return the line of the input that makes this request."""
    return orjson.dumps({"messages": asked.messages, "model": asked.model} | fields) + b"\n"


def explained(folder: Path, row: str, **settings: Any) -> Explanation:
    return cache_use.explain(config(folder, **settings), row)


def test_a_row_that_was_answered_is_a_hit(folder: Path) -> None:
    fill(folder, [request("hello")])
    assert explained(folder, '{"prompt": "hello"}') == Explanation(1, 0, 0, [])
    assert explained(folder, ' {"messages": [{"content": "hello", "role": "user"}]}').hits == 1


def test_a_hit_is_found_whichever_way_a_setting_is_given(folder: Path) -> None:
    fill(folder, [request("hello", temperature=0.0, max_tokens=5)])
    row = '{"prompt": "hello", "temperature": 0, "max_tokens": 5}'
    assert explained(folder, row).hits == 1
    assert explained(folder, '{"prompt": "hello"}', temperature=0.0, max_tokens=5).hits == 1
    assert explained(folder, '{"prompt": "hello", "model": "m"}', max_tokens=5).hits == 0


@pytest.mark.parametrize(
    ("fields", "field", "here", "there"),
    [
        ({"temperature": 0.7}, "temperature", "0.7", "0.0"),
        ({"max_tokens": 9}, "max_tokens", "9", "not set"),
        ({"model": "other"}, "model", '"openai/other"', '"openai/m"'),
        ({"top_k": 3}, "extra", '{"top_k":3}', "not set"),
        ({"stop": ["a"]}, "stop", '["a"]', "not set"),
    ],
)
def test_a_miss_is_explained_by_the_field_that_differs_from_the_nearest_entry(
    folder: Path, fields: dict[str, Any], field: str, here: str, there: str
) -> None:
    far = [request(f"hello {n}", temperature=0.0) for n in range(3)]
    fill(folder, [*far, request("hello", temperature=0.0)])
    row = orjson.dumps({"prompt": "hello", "temperature": 0} | fields).decode()
    found = explained(folder, row)
    assert found == Explanation(0, 0, 1, [Miss(0, {field: (here, there)})])


def test_the_nearest_entry_is_that_with_the_fewest_differences(folder: Path) -> None:
    entries = [
        request("hello", temperature=0.1, top_p=0.1, seed=1),
        request("hello", temperature=0.1, top_p=0.9, seed=1),
        request("another", temperature=0.9, top_p=0.9, seed=1),
    ]
    fill(folder, entries)
    row = '{"prompt": "hello", "temperature": 0.9, "top_p": 0.9, "seed": 1}'
    assert explained(folder, row).explained == [Miss(0, {"temperature": ("0.9", "0.1")})]


def fields_of_miss(folder: Path, row: str) -> set[str]:
    """Return the fields in which the nearest entry to a row differs."""
    (miss,) = explained(folder, row).explained
    assert miss.nearest is not None
    return set(miss.nearest)


def test_equal_messages_are_nearer_than_fewer_differences(folder: Path) -> None:
    same = request("hello", temperature=0.1, top_p=0.1, seed=2)
    for entries in ([request("another", seed=1), same], [same, request("another", seed=1)]):
        fill(folder, entries)
        fields = fields_of_miss(folder, '{"prompt": "hello", "seed": 1}')
        assert fields == {"temperature", "top_p", "seed"}


def test_other_messages_are_named_and_not_shown(folder: Path) -> None:
    fill(folder, [request("a s3cret")])
    row = '{"prompt": "hello"}'
    assert fields_of_miss(folder, row) == {"messages"}
    assert "s3cret" not in str(explained(folder, row))


@pytest.mark.parametrize(
    ("nearest", "says"),
    [
        (None, "the cache is empty"),
        ({}, "its entry is expired or damaged"),
        ({"messages": ("a", "b"), "seed": ("1", "2")}, "no entry has these messages"),
        ({"seed": ("1", "2")}, "the nearest entry has seed 2 (here 1)"),
    ],
)
def test_a_miss_says_why(nearest: dict[str, tuple[str, str]] | None, says: str) -> None:
    assert str(Miss(7, nearest)) == f"row 7: miss, {says}"


def test_a_row_misses_an_empty_cache(folder: Path) -> None:
    assert explained(folder, '{"prompt": "hello"}').explained == [Miss(0, None)]


def test_an_expired_or_damaged_entry_is_told_apart_from_a_missing_one(
    folder: Path,
) -> None:
    fill(folder, [request("hello")], age_s=2 * DAY_S)
    row = '{"prompt": "hello"}'
    assert explained(folder, row).hits == 1
    assert explained(folder, row, cache_ttl="1d").explained == [Miss(0, {})]
    sql(folder, "UPDATE Cache SET value = x'00'")
    assert explained(folder, row).explained == [Miss(0, {})]


def test_a_file_is_explained_row_by_row(folder: Path, tmp_path: Path) -> None:
    asked = questions(30)
    fill(folder, asked[:5])
    lines = [line_of(one) for one in asked]
    path = write_lines(tmp_path / "in.jsonl", b"no JSON\n", *lines, b'{"nothing": 1}\n')
    found = explained(folder, path)
    assert (found.hits, found.bad_rows, found.misses) == (5, 2, 25)
    assert [miss.row for miss in found.explained] == list(range(6, 6 + MAX_EXPLAINED))


def test_explaining_changes_nothing(folder: Path) -> None:
    fill(folder, [request("hello")], age_s=2 * DAY_S)
    before = sql(folder, "SELECT * FROM Cache")
    explained(folder, '{"prompt": "hello"}', cache_ttl="1d", cache_max_size="1kB")
    assert sql(folder, "SELECT * FROM Cache") == before


def test_a_missing_file_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no input"):
        explained(folder, str(tmp_path / "none.jsonl"))
