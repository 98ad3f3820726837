"""Whatever is planted in the cache's file, nothing of it is executed, opened, removed or obeyed."""

import asyncio
import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache
import pytest
from diskcache.core import DBNAME, MODE_BINARY, MODE_NONE, MODE_PICKLE, MODE_RAW, MODE_TEXT

from llmscale.engine.cache.bytes_disk import BytesDisk, ClosedCache
from llmscale.engine.cache.entry import RefusedValue, seal
from llmscale.engine.cache.keys import key_of
from llmscale.runtime.cache import open_backend
from tests.engine.cache import (
    answer_to,
    entry_of,
    fill,
    found_in,
    item,
    opened,
    pickle_that_touches,
    questions,
    request,
    sql,
)
from tests.settings import config_of

PLANTED, INTACT, NEW = questions(3)
KEY = key_of(PLANTED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a store with two entries."""
    fill(tmp_path / "cache", [PLANTED, INTACT])
    return tmp_path / "cache"


def plant(folder: Path, **columns: object) -> None:
    """Change columns of an entry's row."""
    names = ", ".join(f"{name} = ?" for name in columns)
    sql(folder, f"UPDATE Cache SET {names} WHERE key = ?", *columns.values(), KEY)


def test_a_pickle_does_harm_where_it_is_read_or_the_tests_below_test_nothing(
    tmp_path: Path,
) -> None:
    touched = tmp_path / "touched"
    fill(tmp_path / "cache", [PLANTED])
    planted = pickle_that_touches(touched)
    plant(tmp_path / "cache", mode=MODE_PICKLE, value=planted)
    with closing(diskcache.Cache(str(tmp_path / "cache"))) as careless:
        careless.get(KEY)
    assert touched.exists()


@pytest.mark.parametrize("mode", [MODE_NONE, MODE_RAW, MODE_TEXT, MODE_PICKLE, 99, -1, None, "4"])
def test_a_planted_pickle_is_a_miss_that_is_counted_and_not_executed(
    folder: Path, mode: object
) -> None:
    touched = folder / "touched"
    plant(folder, mode=mode, value=pickle_that_touches(touched))
    with opened(folder) as store:
        assert store.get(KEY) is None
        assert store.refused == 1
        assert [key for key, _, _ in store.items()] == [key_of(INTACT)]
        assert store.get(key_of(INTACT)) == entry_at(folder, key_of(INTACT))
    assert not touched.exists()


def entry_at(folder: Path, key: str) -> object:
    with opened(folder) as store:
        return store.get(key)


def test_a_planted_pickle_in_the_mode_of_bytes_is_a_miss_too(folder: Path) -> None:
    plant(folder, mode=MODE_BINARY, value=pickle_that_touches(folder / "touched"))
    with opened(folder) as store:
        assert store.get(KEY) is None
        assert store.refused == 1
    assert not (folder / "touched").exists()


@pytest.mark.parametrize("mode", [MODE_RAW, MODE_PICKLE])
def test_even_the_right_bytes_are_refused_in_another_mode(folder: Path, mode: int) -> None:
    plant(folder, mode=mode)
    with opened(folder) as store:
        assert store.get(KEY) is None
        assert store.refused == 1


@pytest.mark.parametrize("value", ["text", 5, 2.5, None])
def test_a_value_that_is_no_bytes_is_a_miss(folder: Path, value: object) -> None:
    plant(folder, value=value)
    with opened(folder) as store:
        assert store.get(KEY) is None
        assert store.refused == 1


def test_a_value_beside_a_file_name_is_a_miss(folder: Path) -> None:
    plant(folder, filename="x")
    with opened(folder) as store:
        assert store.get(KEY) is None
        assert store.refused == 1


@pytest.mark.parametrize("is_relative", [True, False])
@pytest.mark.parametrize("mode", [MODE_BINARY, MODE_TEXT, MODE_PICKLE])
def test_a_planted_file_name_is_neither_read_nor_removed(
    tmp_path: Path, folder: Path, mode: int, is_relative: bool
) -> None:
    outside = tmp_path / "outside"
    content = seal(KEY, entry_of(PLANTED))  # would be believed, were it read
    outside.write_bytes(content)
    filename = "../outside" if is_relative else str(outside)
    for work in ("clear", "expire", "evict", "replace"):
        plant(folder, mode=mode, filename=filename, value=None, expire_time=None)
        with opened(folder, size_limit_bytes=1 if work == "evict" else 10**9) as store:
            assert store.get(KEY) is None
            assert store.refused == 1
            if work == "clear":
                store.clear()
            elif work == "expire":
                plant(folder, expire_time=1.0)
                store.expire()
            elif work == "evict":
                store.evict()
            assert store.holds(KEY) == (work == "replace")
            store.add([item(PLANTED)])
            found = store.get(KEY)
            assert found is not None
            assert found.reply == answer_to(PLANTED)
    assert outside.read_bytes() == content


@pytest.mark.parametrize("raw", [0, 1, None])
def test_a_planted_key_that_is_no_text_is_passed_over(folder: Path, raw: int | None) -> None:
    touched = folder / "touched"
    sql(
        folder,
        "INSERT INTO Cache (key, raw, store_time, tag, mode, value) VALUES (?, ?, 0, 'x', 4, ?)",
        pickle_that_touches(touched),
        raw,
        b"",
    )
    with opened(folder) as store:
        assert {key for key, _, _ in store.items()} == {KEY, key_of(INTACT)}
        assert store.contents().entries == 3
        assert store.clear("x") == 1
    assert not touched.exists()


def test_a_key_that_is_not_raw_is_no_entry(folder: Path) -> None:
    plant(folder, raw=0)
    with opened(folder) as store:
        assert store.get(KEY) is None
        assert not store.holds(KEY)


@pytest.fixture
def disk(tmp_path: Path) -> BytesDisk:
    return BytesDisk(str(tmp_path))


def test_only_text_is_a_key(disk: BytesDisk) -> None:
    assert disk.put("key") == ("key", True)
    for key in (b"key", 1, 1.5, None, ("key",)):
        with pytest.raises(TypeError):
            disk.put(key)  # type: ignore[arg-type]


def test_a_stored_key_is_never_unpickled(disk: BytesDisk, tmp_path: Path) -> None:
    assert disk.get("key", raw=True) == "key"
    for key in (pickle_that_touches(tmp_path / "touched"), pickle.dumps("key"), "key", None):
        with pytest.raises(RefusedValue):
            disk.get(key, raw=False)
    with pytest.raises(RefusedValue):
        disk.get(b"key", raw=True)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("value", ["text", 1, None, bytearray(b"x"), {"a": 1}])
def test_nothing_but_bytes_is_stored(disk: BytesDisk, value: object) -> None:
    with pytest.raises(TypeError):
        disk.store(value, read=False)  # type: ignore[arg-type]


def test_no_file_is_read_into_the_store(disk: BytesDisk) -> None:
    with pytest.raises(TypeError):
        disk.store(b"bytes", read=True)


def test_bytes_stay_in_their_row_however_many(disk: BytesDisk, tmp_path: Path) -> None:
    value = b"x" * 100_000
    size, mode, filename, stored = disk.store(value, read=False)
    assert (size, mode, filename, bytes(stored)) == (100_000, MODE_BINARY, None, value)
    assert disk.fetch(mode, filename, value, read=False) == value
    assert list(tmp_path.iterdir()) == []


def test_no_file_handle_is_given_out(disk: BytesDisk) -> None:
    with pytest.raises(RefusedValue):
        disk.fetch(MODE_BINARY, None, b"x", read=True)
    assert disk.refused == 1


@pytest.fixture
def careful(folder: Path) -> Iterator[ClosedCache]:
    with closing(ClosedCache(str(folder), 1.0, size_limit=12345)) as cache:
        yield cache


def set_in_file(folder: Path, name: object, value: object) -> None:
    """Plant a setting, which diskcache makes an attribute of its own."""
    sql(folder, "INSERT OR REPLACE INTO Settings VALUES (?, ?)", name, value)


SETTINGS = [
    ("get", 5),
    ("transact", 1),
    ("_sql", 5),
    ("_con", 5),
    ("_disk", None),
    ("disk_fetch", 5),
    ("disk_refused", "many"),
    ("size", "abc"),
    ("size", None),
    ("size", 10**15),
    ("count", b"x"),
    ("size_limit", 1),
    ("size_limit", "x"),
    ("cull_limit", 1000),
    ("eviction_policy", "no such"),
    ("statistics", 1),
    ("tag_index", 0),
    ("sqlite_journal_mode", "delete"),
    ("sqlite_locking_mode", "exclusive"),
    ("sqlite_query_only", 1),
    ("sqlite_cache_size", "not a number"),
    ("sqlite_max_page_count", 1),
    ("sqlite_no such; DROP TABLE Cache", 1),
    ("", ""),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_no_setting_of_the_file_is_believed(folder: Path, name: str, value: object) -> None:
    set_in_file(folder, name, value)
    with opened(folder) as store:
        store.add([item(NEW)])
        assert store.evict() == 0
        for asked in (PLANTED, INTACT, NEW):
            found = store.get(key_of(asked))
            assert found is not None
            assert found.reply == answer_to(asked)
        assert store.contents().entries == 3
        assert store._cache.size_limit == 10**9
        assert store._cache.statistics == 0
        assert store._cache._sql("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._cache._sql("PRAGMA query_only").fetchone() == (0,)


@pytest.mark.parametrize(
    "work",
    [
        *(f"INSERT OR REPLACE INTO Settings VALUES (x'{name}', 1)" for name in ("00", "616263")),
        "INSERT OR REPLACE INTO Settings VALUES ('size', x'ff')",
        "UPDATE Settings SET value = NULL",
        "DELETE FROM Settings",
        "DROP TABLE Settings",
        "DROP TABLE Cache",
        "ALTER TABLE Cache DROP COLUMN access_count",
        "ALTER TABLE Cache RENAME COLUMN store_time TO stored",
        "CREATE TRIGGER no BEFORE INSERT ON Cache BEGIN SELECT RAISE(ABORT, 'no'); END",
        "UPDATE Cache SET expire_time = 'x', store_time = 'y', access_time = x'ff', tag = NULL",
    ],
)
async def test_a_run_goes_on_whatever_the_file_says(folder: Path, work: str) -> None:
    sql(folder, work)
    replies = open_backend(config_of(cache_dir=str(folder)).cache)
    if replies is None:  # it can't be opened, and that is said
        return
    for asked in (PLANTED, INTACT):
        found = await found_in(replies, asked)
        assert found is None or found.reply == answer_to(asked)
    async with asyncio.timeout(10):
        replies.put(*item(NEW))
        await replies.aclose()
    summary = replies.summary()
    assert summary["stored"] + summary["dropped"] == 1


def test_a_file_that_can_not_be_opened_is_let_go_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noted(*args: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*args, **options))
        return connections[-1]

    (folder / DBNAME).write_bytes(b"no database" * 1_000)
    monkeypatch.setattr(sqlite3, "connect", noted)
    with pytest.raises(sqlite3.DatabaseError):
        ClosedCache(str(folder), timeout=1)
    assert connections
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_folder_that_can_not_be_made_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        ClosedCache(str(tmp_path / "file" / "cache"), timeout=1)


def test_the_settings_of_the_store_do_reach_the_cache(careful: ClosedCache) -> None:
    assert careful.size_limit == 12345
    assert isinstance(careful.disk, BytesDisk)
    assert careful.eviction_policy == "least-recently-stored"


def test_the_volume_is_that_of_the_file(folder: Path, careful: ClosedCache) -> None:
    set_in_file(folder, "size", 10**12)
    careful._sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert careful.volume() == (folder / "cache.db").stat().st_size


def test_an_unsafe_request_is_no_key_in_any_store(folder: Path) -> None:
    with opened(folder) as store, pytest.raises((TypeError, sqlite3.Error)):
        store.get(request())  # type: ignore[arg-type]
