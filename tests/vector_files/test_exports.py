"""Every format: what went in comes out, what does not fit is named, and a file is whole."""

import re
import stat
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmscale import vector_files as exports
from llmscale.core.atomic_file import publish, stage
from llmscale.core.errors import ConfigError, StorageError
from llmscale.vector_files import lines as lines_module
from tests.vector_files import ENDINGS, chunk_of, line, spread, write_jsonl

every_format = pytest.mark.parametrize("ending", ENDINGS)
every_file = pytest.mark.parametrize("ending", [*ENDINGS, ".jsonl"])


def exported(folder: Path, ending: str, lines: list[Any]) -> Path:
    """Write the lines as JSONL, and from them the export, as `embed` does."""
    beside = write_jsonl(folder / "vectors.jsonl", lines)
    path = folder / f"vectors{ending}"
    if ending != ".jsonl":
        exports.export(exports.jsonl.lines_of(beside), path)
    return path


def read_back(path: Path) -> dict[int, list[float]]:
    """Return all vectors by position."""
    found: dict[int, list[float]] = {}
    for block in exports.blocks(path):
        assert len(block.positions) == len(block.vectors)
        found |= dict(zip(block.positions.tolist(), block.vectors.tolist(), strict=True))
    return found


# ---- what went in comes out --------------------------------------------------------------------

numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def outputs(draw: st.DrawFn) -> list[Any]:
    """Draw the lines of an output, failed ones among them."""
    length = draw(st.integers(1, 5))
    vector = st.lists(numbers, min_size=length, max_size=length).filter(any)
    drawn = draw(st.lists(st.tuples(st.none() | vector, texts, st.booleans()), max_size=12))
    return [
        line(index, values, base64_=packed, id=text or None, text=text, source=text or None)
        for index, (values, text, packed) in enumerate(drawn)
    ]


@every_file
@given(lines=outputs(), group_lines=st.integers(1, 5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_vectors_and_chunks_come_back_as_they_were(
    ending: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[Any],
    group_lines: int,
) -> None:
    monkeypatch.setattr(lines_module, "GROUP_LINES", group_lines)
    path = exported(tmp_path, ending, lines)
    vectors = {at: lines_module.vector_of(each) for at, each in enumerate(lines)}
    there = {at: vector.tolist() for at, vector in vectors.items() if vector is not None}
    assert read_back(path) == there
    chunks = exports.chunks(path, range(len(lines)))
    assert chunks == {at: chunk_of(each) for at, each in enumerate(lines)}


@every_file
@pytest.mark.parametrize("group_lines", [2, 100])
def test_lines_that_failed_before_the_first_vector_are_there(
    ending: str, group_lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "GROUP_LINES", group_lines)
    lines = [line(at, None if at < 7 or at == 8 else [1.0, at]) for at in range(10)]
    path = exported(tmp_path, ending, lines)
    assert read_back(path) == {7: [1.0, 7.0], 9: [1.0, 9.0]}
    assert exports.chunks(path, [0, 9]) == {0: chunk_of(lines[0]), 9: chunk_of(lines[9])}


@every_file
@pytest.mark.parametrize("lines", [[], [line(0, None), line(1, None)]], ids=["none", "failed"])
def test_an_output_without_vectors_is_an_export_without(
    ending: str, lines: list[Any], tmp_path: Path
) -> None:
    path = exported(tmp_path, ending, lines)
    assert read_back(path) == {}
    assert len(exports.chunks(path, range(5))) == len(lines)


@every_file
def test_a_block_says_of_which_models_its_vectors_are(ending: str, tmp_path: Path) -> None:
    lines = [line(0, None, model="sim/failed"), line(1, [1.0]), line(2, [1.0], model="sim/b")]
    path = exported(tmp_path, ending, lines)
    (block,) = exports.blocks(path)
    # of all lines beside it, a matrix would have to parse every vector
    expected = {"local/wordllama"} if ending == ".npy" else {"local/wordllama", "sim/b"}
    assert block.models == expected


@pytest.mark.parametrize("ending", [".NPY", ".Parquet", ".SQLite", ".sqlite3"])
def test_endings_are_known_in_any_case(ending: str, tmp_path: Path) -> None:
    lines = [line(0, [1.0, 2.0])]
    exports.check(tmp_path / f"a{ending}")
    assert read_back(exported(tmp_path, ending, lines)) == {0: [1.0, 2.0]}


def test_what_is_not_of_its_type_is_left_out_of_a_chunk(tmp_path: Path) -> None:
    odd = {"id": 7, "index": 1 << 63, "source": ["a"], "start": True, "end": "9", "text": 5}
    path = exported(tmp_path, ".parquet", [line(0, [1.0]) | odd])
    (chunk,) = exports.chunks(path, [0]).values()
    assert (chunk.id, chunk.index) == ("7", 0)
    assert (chunk.source, chunk.start, chunk.end, chunk.text) == (None, None, None, None)


# ---- what does not fit -------------------------------------------------------------------------

ODD_VECTORS: dict[str, Any] = {
    "short": [1.0],
    "long": [1.0, 2.0, 3.0],
    "empty": [],
    "zero": [0.0, -0.0],
    "too large": [1e300, 1.0],
    "infinite": "AACAfwAAgD8=",
    "text": ["1", "2"],
    "truth": [True, False],
    "null": [None, 1.0],
    "nested": [[1.0, 2.0]],
    "ragged": [[1.0], [1.0, 2.0]],
    "no base64": "?",
    "a part of a number": "AAA=",
    "a number": 5,
    "an object": {},
}


@every_format
@pytest.mark.parametrize("odd", ODD_VECTORS.values(), ids=ODD_VECTORS.keys())
def test_a_vector_that_does_not_fit_is_named_by_its_line_and_leaves_nothing(
    ending: str, odd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "GROUP_LINES", 2)
    lines = [line(0, [1.0, 2.0]), line(1, None), line(2, [1.0, 3.0]), line(3, [1.0]), line(4, None)]
    lines[3]["vector"] = odd
    path = tmp_path / f"a{ending}"
    with pytest.raises(StorageError, match=rf"^can't write {re.escape(str(path))}: line 4 has "):
        exports.export(lines, path)
    assert not list(tmp_path.iterdir())


def test_a_vector_of_another_length_is_reported_with_both_lengths(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="line 2 has a vector of 1 numbers, the first has 2"):
        exports.export([line(0, [1.0, 2.0]), line(1, [1.0])], tmp_path / "a.npy")


def test_an_output_of_answers_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="line 1 has no field vector; is this an output of"):
        exports.export([{"id": "a", "output": "text"}], tmp_path / "a.npy")


def test_two_lines_of_one_index_are_refused_by_a_database(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"can't write .*a\.db: UNIQUE"):
        exports.export([line(0, [1.0]), line(0, [2.0])], tmp_path / "a.db")
    assert not list(tmp_path.iterdir())


# ---- checked before a job starts ---------------------------------------------------------------


@every_format
def test_what_can_be_written_passes_the_check_and_leaves_no_trace(
    ending: str, tmp_path: Path
) -> None:
    exports.check(tmp_path / f"a{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.csv", "a", "a.npy.gz", ".npy", "a.jsonl"])
def test_an_unknown_ending_is_refused(name: str, tmp_path: Path) -> None:
    for call in (exports.check, lambda path: exports.export([], path)):
        with pytest.raises(ConfigError, match=r"use \.npy, \.parquet or \.db$"):
            call(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_or_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        exports.check(tmp_path / "no" / "a.npy")
    (tmp_path / "a.npy").mkdir()
    with pytest.raises(ConfigError, match="it is a folder"):
        exports.check(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("ending", "module", "extra"),
    [(".parquet", "pyarrow", "parquet"), (".db", "sqlite_vec", "sqlite")],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    ending: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported(tmp_path, ending, [line(0, [1.0])])
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.parquet", None)
    calls: list[Callable[[], object]] = [
        lambda: exports.check(path),
        lambda: list(exports.blocks(path)),
        lambda: exports.chunks(path, [0]),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=re.escape(f'pip install "llmscale[{extra}]"')):
            call()


# ---- a file is whole or not there --------------------------------------------------------------


def put_in_place(lines: Any, path: Path) -> None:
    """Stage and rename an export, as the caller of `exports` does."""
    publish(stage(path, lambda file: exports.export(lines, path, Path(file.name))), path)


@every_format
def test_a_staged_export_is_of_the_user_alone_and_leaves_nothing_beside(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a{ending}"
    put_in_place([line(0, None), line(1, [1.0, 2.0])], path)
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_jsonl(tmp_path / "a.jsonl", [line(0, None), line(1, [1.0, 2.0])])
    assert read_back(path) == {1: [1.0, 2.0]}


@every_format
def test_an_export_that_fails_leaves_the_one_before_it(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    put_in_place([line(0, [1.0, 2.0])], path)
    before = path.read_bytes()

    def interrupted() -> Iterator[Any]:
        yield line(0, [3.0, 4.0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_in_place(interrupted(), path)
    with pytest.raises(StorageError):
        put_in_place([line(0, [1.0, 2.0]), line(1, [1.0])], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@every_format
def test_an_export_is_the_same_to_the_last_byte_each_time(ending: str, tmp_path: Path) -> None:
    lines = [line(at, vector.tolist()) for at, vector in enumerate(spread(50))]
    first, second = (exported(tmp_path, ending, lines).read_bytes() for _ in range(2))
    assert first == second


# ---- memory ------------------------------------------------------------------------------------


def peak_bytes_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


GROUPS, GROUP_LINES = 20, 1_024
MANY = GROUPS * GROUP_LINES
FLAT_BYTES = 6 * 1024 * 1024  # all lines take 9 MB, a group and pyarrow 4


@pytest.mark.parametrize(
    ("ending", "failed"), [(".npy", 0), (".db", 0), (".parquet", 0), (".parquet", MANY - 5)]
)
def test_memory_is_that_of_a_group_of_lines_and_not_of_all(
    ending: str, failed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "GROUP_LINES", GROUP_LINES)
    one = line(0, None)
    lines = (
        {**one, "index": at, "vector": [1.0, at] if at >= failed else None} for at in range(MANY)
    )
    peak_bytes = peak_bytes_of(lambda: exports.export(lines, tmp_path / f"a{ending}"))
    assert peak_bytes < FLAT_BYTES


def test_few_long_texts_fill_a_group_too() -> None:
    lines = [line(at, [1.0], text="x" * (1 << 20)) for at in range(40)]
    groups = list(lines_module.groups(lines, "can't"))
    assert [len(group.chunks) for group in groups] == [16, 16, 8]


def test_vectors_of_any_length_keep_to_float32() -> None:
    assert lines_module.vector_of(line(0, [1, 2**40, 0.1])) is not None
    vector = lines_module.vector_of({"vector": [1, 2**40, 0.1]})
    assert vector is not None
    assert vector.dtype == np.dtype("<f4")
    assert vector.tolist() == np.array([1, 2**40, 0.1], "<f4").tolist()
