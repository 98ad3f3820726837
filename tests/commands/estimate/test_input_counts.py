"""The counts of an input: which rows are sent, their sizes, and their bounds."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from llmscale.accounting.tokens import MESSAGE_BYTES, input_bytes
from llmscale.commands.estimate.input_counts import InputCounts, count_input
from llmscale.commands.estimate.row_columns import UNBOUNDED, RowColumns, select_rows
from llmscale.core.records import Request
from llmscale.engine.cache.keys import key_of
from llmscale.rows.sources import expand
from llmscale.runtime.models import Models
from tests.cli.tool import write_rows
from tests.engine.cache import fill
from tests.settings import config_of

MODEL = "sim/a"


def counts_of(folder: Path, rows: list[Any], answered: bytes = b"", **settings: Any) -> InputCounts:
    path = write_rows(folder / "in.jsonl", rows)
    cache = str(folder / "cache")
    config = config_of(inputs=(str(path),), cache_dir=cache, **({"model": MODEL} | settings))
    return count_input(
        config, Models(config.models), expand(config.files.inputs), bytearray(answered)
    )


def columns_of(
    folder: Path, rows: list[Any], *, deduplicates: bool = True, **settings: Any
) -> RowColumns:
    return counts_of(folder, rows, **settings).columns(deduplicates=deduplicates)


def places(mask: Any) -> list[int]:
    return [int(place) for place in np.flatnonzero(mask)]


def row(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"prompt": prompt} | fields


def request_of(prompt: str, **fields: Any) -> Request:
    messages = [{"role": "user", "content": prompt}]
    return Request(**{"model": MODEL, "messages": messages} | fields)


def test_every_valid_row_is_sent(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, [row("a"), {"nothing": 1}, row("b")])
    assert places(columns.is_row) == places(columns.asked) == [0, 2]


def test_of_equal_requests_the_first_is_sent(tmp_path: Path) -> None:
    rows = [row("a"), row("b"), row("a"), row("a", seed=1), row("a", id="x")]
    columns = columns_of(tmp_path, rows)
    assert places(columns.asked) == places(columns.first) == [0, 1, 3]
    assert places(columns.repeated) == [2, 4]


def test_without_deduplication_every_row_is_sent(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, [row("a"), row("a")], deduplicates=False)
    assert places(columns.asked) == places(columns.first) == [0, 1]
    assert not columns.repeated.any()


def test_cached_rows_are_not_sent_and_are_savings(tmp_path: Path) -> None:
    fill(tmp_path / "cache", [request_of("a")])
    counts = counts_of(tmp_path, [row("a"), row("b"), row("a")])
    columns = counts.columns(deduplicates=True)
    assert places(columns.cached) == [0, 2]
    assert places(columns.asked) == [1]
    assert places(columns.first) == [0, 1]
    assert (counts.cache_savings.rows, counts.cache_savings.tokens) == (2, 24)
    assert counts.cache_savings.known_usd is None, "their price is unknown"


def test_answered_rows_are_not_sent(tmp_path: Path) -> None:
    counts = counts_of(tmp_path, [row("a"), row("b"), row("a")], answered=b"\1\0")
    columns = counts.columns(deduplicates=True)
    assert places(columns.answered) == [0]
    assert places(columns.asked) == [1, 2], "an answer in OUT is not in the cache"


def test_rows_beyond_the_limit_are_not_counted(tmp_path: Path) -> None:
    assert len(columns_of(tmp_path, [row("a"), row("b")], limit=1).is_row) == 1


def test_models_and_users_are_numbered_in_input_order(tmp_path: Path) -> None:
    rows = [row("a"), row("b", model="sim/b", user="u"), {}, row("c", user="u"), row("d", user=7)]
    counts = counts_of(tmp_path, rows)
    columns = counts.columns(deduplicates=True)
    assert counts.models == ["sim/a", "sim/b"]
    assert columns.models[columns.is_row].tolist() == [0, 1, 0, 0]
    assert [counts.users[number] for number in columns.users] == [None, "u", None, "u", "7"]


def test_sizes_are_bytes_of_the_input_and_characters_of_its_texts(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "12345"}, {"type": "image_url", "image_url": "x"}]
    rows = [row("12é"), {"messages": [{"role": "user", "content": parts}]}]
    columns = columns_of(tmp_path, rows)
    assert columns.text_sizes.tolist() == [3, 5]
    assert columns.sizes[0] == input_bytes(request_of("12é")) == MESSAGE_BYTES + 4


def test_bounds_are_the_bytes_of_the_request_and_max_tokens(tmp_path: Path) -> None:
    counts = counts_of(tmp_path, [row("é", max_tokens=9), row("e")], model="openai/m")
    columns = counts.columns(deduplicates=True)
    assert columns.max_input[0] == len(orjson.dumps([{"role": "user", "content": "é"}]))
    assert columns.max_output.tolist() == [9, UNBOUNDED]
    assert counts.unbounded == "its answer has no bound; set max_tokens"


def test_server_side_tools_have_no_bound(tmp_path: Path) -> None:
    rows = [row("a", max_tokens=5, tools=[{"type": "web_search"}])]
    counts = counts_of(tmp_path, rows)
    assert counts.columns(deduplicates=True).max_input.tolist() == [UNBOUNDED]
    assert "runs at the provider" in str(counts.unbounded)


def test_keys_are_those_of_the_cache(tmp_path: Path) -> None:
    counts = counts_of(tmp_path, [row("a")])
    assert list(counts._keys) == [int(key_of(request_of("a"))[:16], 16)]


def test_an_empty_input_has_no_rows(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, [])
    assert len(columns.is_row) == len(columns.asked) == 0
    assert select_rows(columns, None).rows == select_rows(columns, 10).rows == 0


def test_memory_is_33_bytes_for_a_row(tmp_path: Path) -> None:
    counts = counts_of(tmp_path, [row(f"{number}") for number in range(100)])
    arrays = [counts._keys, *counts._columns, counts._models_of_rows, counts._users_of_rows]
    assert sum(a.itemsize for a in arrays) + 1 == 33
    assert {len(a) for a in arrays} == {len(counts._states)} == {100}


@pytest.fixture
def mixed(tmp_path: Path) -> RowColumns:
    """Return four requests in six rows; the cached one and another one are repeated."""
    fill(tmp_path / "cache", [request_of("stored")])
    names = ["stored", "a", "b", "a", "stored", "c"]
    return columns_of(tmp_path, [row(name) for name in names])


def test_a_run_sends_the_rows_without_an_answer(mixed: RowColumns) -> None:
    sent = select_rows(mixed, None)
    assert (places(sent.asked), places(sent.repeated)) == ([1, 2, 5], [3])
    assert sent.rows == 3
    assert sent.with_repeated().rows == 4
    assert sent.total(mixed.text_sizes) == 3
    assert not sent.from_scratch


def test_a_scaled_run_sends_all_rows_from_scratch(mixed: RowColumns) -> None:
    sent = select_rows(mixed, 2.5)
    assert (places(sent.asked), places(sent.repeated)) == ([0, 1, 2, 5], [3, 4])
    assert sent.rows == 10
    assert sent.total(mixed.text_sizes) == 2.5 * 9
    assert sent.from_scratch


def test_a_selection_can_be_narrowed(mixed: RowColumns) -> None:
    part = select_rows(mixed, 3).where(mixed.text_sizes > 1)
    assert (places(part.asked), places(part.repeated), part.scale) == ([0], [4], 3)
