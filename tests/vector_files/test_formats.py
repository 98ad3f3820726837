"""What other programs find in each format, by their own libraries; and files that are not ours."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import sqlite_vec  # type: ignore[import-untyped]

from llmscale import vector_files as exports
from llmscale.core.errors import ConfigError, StorageError
from llmscale.vector_files import lines as lines_module
from llmscale.vector_files import sqlite
from tests.vector_files import ENDINGS, MODEL, line, spread, write_jsonl

LINES = [line(0, [3.0, 4.0]), line(1, None), line(2, [1.0, 0.0], source=None, start=None)]


def exported(folder: Path, ending: str, lines: list[Any] = LINES) -> Path:
    write_jsonl(folder / "vectors.jsonl", lines)
    path = folder / f"vectors{ending}"
    exports.export(lines, path)
    return path


# ---- numpy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_numpy_loads_a_matrix_with_a_row_of_nan_for_a_failed_line(
    mmap_mode: Any, tmp_path: Path
) -> None:
    matrix = np.load(exported(tmp_path, ".npy"), mmap_mode=mmap_mode, allow_pickle=False)
    assert matrix.dtype == np.dtype("<f4")
    assert matrix.shape == (3, 2)
    np.testing.assert_array_equal(matrix, [[3, 4], [np.nan, np.nan], [1, 0]])


@pytest.mark.parametrize("count", [1, 9, 10, 999, 1000, 12_345])
def test_the_head_of_a_matrix_fits_any_number_of_rows(count: int, tmp_path: Path) -> None:
    path = exported(tmp_path, ".npy", [line(at, [1.0, at]) for at in range(count)])
    np.testing.assert_array_equal(np.load(path)[:, 1], np.arange(count))
    assert path.stat().st_size == 128 + 8 * count


def test_a_matrix_needs_the_lines_beside_it(tmp_path: Path) -> None:
    path = exported(tmp_path, ".npy")
    write_jsonl(tmp_path / "vectors.jsonl", LINES[:2])
    with pytest.raises(StorageError, match=r"has 3 rows, and .*vectors\.jsonl 2 lines"):
        list(exports.blocks(path))
    (tmp_path / "vectors.jsonl").unlink()
    for read in (lambda: list(exports.blocks(path)), lambda: exports.chunks(path, [0])):
        with pytest.raises(ConfigError, match="numbers only, and the lines beside it are missing"):
            read()


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((1, 2), int), np.array([[{}]], object), np.float32(1)]
)
def test_a_matrix_of_anything_else_is_refused(array: Any, tmp_path: Path) -> None:
    path = exported(tmp_path, ".npy")
    np.save(path, array)
    with pytest.raises(StorageError, match="can't read"):
        list(exports.blocks(path))


# ---- Parquet -----------------------------------------------------------------------------------


def test_pyarrow_reads_typed_columns_and_a_vector_of_nan_for_a_failed_line(tmp_path: Path) -> None:
    table = pq.read_table(exported(tmp_path, ".parquet"))
    assert table.schema.names == [
        *("id", "index", "source", "start", "end", "text", "model", "error", "vector")
    ]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 2)
    assert not table.column("vector").null_count  # which pyarrow before 26 could not read
    vectors = np.array(table.column("vector").to_pylist())
    np.testing.assert_array_equal(vectors, [[3, 4], [np.nan, np.nan], [1, 0]])
    assert table.column("index").to_pylist() == [0, 1, 2]
    assert table.column("source").to_pylist() == ["docs/a.md", "docs/a.md", None]
    assert table.column("model").to_pylist() == [MODEL] * 3
    failed = '{"type":"timeout","message":"late","retryable":true}'
    assert table.column("error").to_pylist() == [None, failed, None]


def test_parquet_is_written_in_row_groups(tmp_path: Path) -> None:
    count = 2 * lines_module.GROUP_LINES + 1
    path = exported(tmp_path, ".parquet", [line(at, [1.0, at]) for at in range(count)])
    rows = [pq.ParquetFile(path).metadata.row_group(at).num_rows for at in range(3)]
    assert rows == [lines_module.GROUP_LINES, lines_module.GROUP_LINES, 1]
    positions = [count - 1, 0, lines_module.GROUP_LINES]
    assert {at: c.index for at, c in exports.chunks(path, positions).items()} == {
        at: at for at in positions
    }


@pytest.mark.parametrize(
    "table",
    [pa.table({"a": [1]}), pa.table({n: [[1.0]] for n in (*lines_module.COLUMNS, "vector")})],
    ids=["other columns", "lists of any length"],
)
def test_parquet_by_others_is_refused(table: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    with pytest.raises(StorageError, match="llmscale embed did not write it"):
        list(exports.blocks(path))


# ---- SQLite ------------------------------------------------------------------------------------


def opened(path: Path) -> sqlite3.Connection:
    """Open a database as another program would."""
    connection = sqlite3.connect(path)
    connection.enable_load_extension(True)
    sqlite_vec.load(connection)
    return connection


def test_any_program_with_sqlite_vec_finds_the_nearest_chunks(tmp_path: Path) -> None:
    path = exported(tmp_path, ".db")
    with closing(opened(path)) as connection:
        found = connection.execute(
            'select c."index", c.text, v.distance from vectors v '
            'join chunks c on c."index" = v.rowid '
            "where v.vector match ? and v.k = 5 order by v.distance",
            (np.array([2, 0], "<f4").tobytes(),),
        ).fetchall()
        failed = connection.execute(
            "select id, error ->> '$.message' from chunks where error is not null"
        ).fetchall()
    assert [row[:2] for row in found] == [(2, "text 2"), (0, "text 0")]
    assert [row[2] for row in found] == pytest.approx([0.0, 0.4], abs=1e-6)
    assert failed == [("id 1", "late")]


def test_a_database_is_one_sound_file(tmp_path: Path) -> None:
    path = exported(tmp_path, ".db", [line(at, v.tolist()) for at, v in enumerate(spread(3000))])
    with closing(opened(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("pragma journal_mode").fetchone() == ("delete",)
        assert connection.execute("select count(*) from vectors").fetchone() == (3000,)


def test_a_name_with_the_marks_of_an_address_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#%41 b.db"
    exports.export(LINES, path)
    assert list(tmp_path.iterdir()) == [path]
    assert exports.chunks(path, [2])[2].text == "text 2"


def test_reading_does_not_change_a_database_and_makes_none(tmp_path: Path) -> None:
    path = exported(tmp_path, ".db")
    before = path.read_bytes()
    list(exports.blocks(path, spread(1, 2)[0], 1))
    assert path.read_bytes() == before
    with pytest.raises(StorageError, match="unable to open"):
        list(exports.blocks(tmp_path / "none.db"))
    assert not (tmp_path / "none.db").exists()


def test_a_database_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table other(a)")
    for read in (lambda: list(exports.blocks(path)), lambda: exports.chunks(path, [0])):
        with pytest.raises(StorageError, match=r"can't read .*a\.db: no such table: chunks"):
            read()


def test_a_python_that_loads_no_extensions_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain(sqlite3.Connection):
        @property
        def enable_load_extension(self) -> Any:
            raise AttributeError

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **n: connect(*a, **(n | {"factory": Plain})))
    with pytest.raises(ConfigError, match="sqlite3 loads extensions, and this one was built"):
        exports.check(tmp_path / "a.db")


# ---- the nearest in SQLite ---------------------------------------------------------------------


def positions_near(path: Path, query: Any, k: int) -> list[int]:
    blocks = list(exports.blocks(path, query, k))
    return [position for block in blocks for position in block.positions.tolist()]


def test_a_database_gives_no_more_than_it_must(tmp_path: Path) -> None:
    vectors = spread(5000, 32)
    path = exported(tmp_path, ".db", [line(at, v.tolist()) for at, v in enumerate(vectors)])
    near = positions_near(path, vectors[1234], 5)
    assert len(near) == 80
    assert near[0] == 1234
    cosines = vectors @ vectors[1234] / np.linalg.norm(vectors, axis=1)
    assert set(np.argsort(-cosines)[:5].tolist()) <= set(near)


def test_a_database_gives_all_where_more_are_equal_than_it_was_asked_for(tmp_path: Path) -> None:
    path = exported(tmp_path, ".db", [line(at, [1.0, 0.0]) for at in range(200)])
    assert positions_near(path, spread(1, 2)[0], 3) == list(range(200))


def test_a_database_gives_all_where_more_is_wanted_than_sqlite_vec_returns(tmp_path: Path) -> None:
    count = sqlite._MAX_NEAREST + 4
    path = exported(tmp_path, ".db", [line(at, v.tolist()) for at, v in enumerate(spread(count))])
    assert len(positions_near(path, spread(1)[0], count)) == count


def test_a_query_of_another_length_is_a_sentence(tmp_path: Path) -> None:
    path = exported(tmp_path, ".db")
    with pytest.raises(StorageError, match="can't read"):
        positions_near(path, spread(1, 3)[0], 1)


# ---- files that are broken ---------------------------------------------------------------------


@pytest.mark.parametrize("ending", [*ENDINGS, ".jsonl"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind\n" * 50], ids=["empty", "text"])
def test_a_file_that_is_none_of_its_format_is_refused(
    ending: str, content: bytes, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "vectors.jsonl", LINES)
    path = tmp_path / f"vectors{ending}"
    path.write_bytes(content)
    if ending == ".jsonl" and not content:
        assert list(exports.blocks(path)) == []
        return
    with pytest.raises(StorageError, match="can't read"):
        list(exports.blocks(path))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_was_cut_is_refused(ending: str, tmp_path: Path) -> None:
    lines = [line(at, v.tolist()) for at, v in enumerate(spread(2000))]
    path = exported(tmp_path, ending, lines)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StorageError, match="can't read"):
        list(exports.blocks(path))


@pytest.mark.parametrize("raw", [b"[1]", b"{", b"", b'"text"', b"null"])
def test_a_line_that_is_no_object_is_named(raw: bytes, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "vectors.jsonl", LINES)
    path.write_bytes(path.read_bytes() + raw + b"\n")
    with pytest.raises(StorageError, match="line 4 is not a JSON object"):
        list(exports.blocks(path))


def test_an_output_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        list(exports.blocks(tmp_path / "vectors.jsonl"))
