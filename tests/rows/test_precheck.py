"""One look ahead counts the rows, knows a batch file, and refuses one id for two different rows."""

import gzip
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.errors import ConfigError
from llmscale.rows import precheck as module
from llmscale.rows import sources as source_module
from llmscale.rows.precheck import Precheck, precheck
from llmscale.rows.sources import Source

BATCH = {"custom_id": "a", "body": {"messages": []}}


def source(path: Path, *lines: bytes | dict[str, Any]) -> Source:
    raws = [line if isinstance(line, bytes) else orjson.dumps(line) for line in lines]
    path.write_bytes(b"\n".join(raws))
    return Source(str(path), path.name)


def precheck_of(
    tmp_path: Path, *lines: bytes | dict[str, Any], limit: int | None = None
) -> Precheck:
    return precheck([source(tmp_path / "in.jsonl", *lines)], limit)


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        ([], 0),
        ([b"", b" ", b"\r"], 0),
        ([{"prompt": "a"}], 1),
        ([{"prompt": "a"}, b"", {"prompt": "a"}, b"no json", b""], 3),
    ],
)
def test_every_line_that_is_not_blank_is_a_row(lines: list[Any], rows: int, tmp_path: Path) -> None:
    assert precheck_of(tmp_path, *lines).rows == rows


def test_a_line_that_is_too_long_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MAX_LINE_BYTES", 10)
    assert precheck_of(tmp_path, b"a", b"l" * 11, b"b")[:2] == (3, False)
    assert precheck_of(tmp_path, b"l" * 11, BATCH)[:2] == (2, False)


@pytest.mark.parametrize(("limit", "rows"), [(None, 5), (1, 1), (3, 3), (5, 5), (9, 5)])
def test_a_limit_bounds_the_count(limit: int | None, rows: int, tmp_path: Path) -> None:
    assert precheck_of(tmp_path, *[{"id": i} for i in range(5)], limit=limit).rows == rows


def test_what_lies_beyond_the_limit_is_not_looked_at(tmp_path: Path) -> None:
    lines: list[Any] = [{"id": 1, "prompt": "a"}, {"id": 2}, {"id": 1, "prompt": "b"}]
    assert precheck_of(tmp_path, *lines, limit=2).rows == 2
    with pytest.raises(ConfigError, match="two different rows have the id 1"):
        precheck_of(tmp_path, *lines, limit=3)


@pytest.mark.parametrize(
    ("lines", "is_batch"),
    [
        ([BATCH], True),
        ([BATCH, {"prompt": "a"}], True),
        ([b"", BATCH], True),
        ([{"prompt": "a"}, BATCH], False),
        ([{"prompt": "body"}], False),
        ([{"prompt": 'a "body" in quotes'}], False),
        ([{"metadata": {"body": {}}}], False),
        ([b'"body"'], False),
        ([b'{"body": torn'], False),
        ([], False),
    ],
)
def test_the_first_row_decides_whether_it_is_a_batch_file(
    lines: list[Any], is_batch: bool, tmp_path: Path
) -> None:
    assert precheck_of(tmp_path, *lines).is_batch == is_batch


@pytest.mark.parametrize(
    "lines",
    [
        [{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "x"}],
        [b'{"id": "a"}', b'  {"id": "a"}\r'],
        [{"id": 1, "prompt": "x"}, {"id": "1", "prompt": "y"}],
        [{"prompt": "x"}, {"prompt": "y"}],
        [{"id": None, "prompt": "x"}, {"id": None, "prompt": "y"}],
        [{"prompt": '"id" in a prompt'}, {"prompt": 'and another "id"'}],
        [{"metadata": {"id": 1}, "prompt": "x"}, {"metadata": {"id": 1}, "prompt": "y"}],
        [b'{"id": 1.5, "prompt": "x"}', b'{"id": 1.5, "prompt": "y"}'],  # bad rows both
    ],
)
def test_rows_that_are_the_same_or_have_no_id_in_common_pass(
    lines: list[Any], tmp_path: Path
) -> None:
    assert precheck_of(tmp_path, *lines).rows == 2


@pytest.mark.parametrize(
    ("first", "second", "row_id"),
    [
        ({"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}, "'a'"),
        ({"id": 5, "prompt": "x"}, {"id": 5, "prompt": "y"}, "5"),
        ({"custom_id": "a", "prompt": "x"}, {"id": "a", "prompt": "x"}, "'a'"),
        ({"id": "a", "prompt": "x"}, {"prompt": "x", "id": "a"}, "'a'"),
        ({"id": "", "prompt": "x"}, {"id": "", "prompt": "y"}, "''"),
    ],
)
def test_one_id_for_two_different_rows_is_refused_by_both_lines(
    first: dict[str, Any], second: dict[str, Any], row_id: str, tmp_path: Path
) -> None:
    fillers = [{"id": f"filler {i}"} for i in range(40)]
    sources = [
        source(tmp_path / "1.jsonl", *fillers[:20], b"", first),
        source(tmp_path / "2.jsonl", *fillers[20:], second),
    ]
    complaint = (
        f"two different rows have the id {row_id}: 1.jsonl line 22 and 2.jsonl line 21; "
        "give each row its own id"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(complaint)}$"):
        precheck(sources)


@given(ids=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1))))
def test_a_clash_is_found_wherever_it_is(
    ids: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "precheck.jsonl"
    sources = [source(path, *({"id": i, "prompt": str(content)} for i, content in ids))]
    if len({i for i, _ in ids}) == len(set(ids)):
        assert precheck(sources).rows == len(ids)
    else:
        with pytest.raises(ConfigError, match="two different rows have the id"):
            precheck(sources)


def test_ids_are_compared_in_every_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"id": i, "prompt": "x"} for i in range(200)]
    for buckets in (1, 7, 16):
        monkeypatch.setattr(module, "_BUCKETS", buckets)
        assert precheck_of(tmp_path, *lines, *lines).rows == 400
        with pytest.raises(ConfigError, match="two different rows have the id 150"):
            precheck_of(tmp_path, *lines, {"id": 150, "prompt": "y"})


@pytest.mark.parametrize("limit", [None, 0, 2])
def test_digests_are_of_whole_files_as_they_lie_there(limit: int | None, tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(b'{"prompt": "a"}\n' * 3)
    packed.write_bytes(gzip.compress(b'{"prompt": "b"}\n' * 3) + bytes(9))
    found = precheck([Source(str(path), path.name) for path in (plain, packed)], limit)
    assert found.digests == [sha256(path.read_bytes()).hexdigest() for path in (plain, packed)]
