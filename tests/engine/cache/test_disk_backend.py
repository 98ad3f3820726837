"""The replies on this disk: whatever happens to the file, a miss and never an error (S02)."""

import asyncio
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from llmscale.accounting.stats import Stats
from llmscale.core.cache_records import Entry, StoredEntry
from llmscale.core.protocols import CacheBackend
from llmscale.core.records import Reply, Request
from llmscale.engine.cache import store as stores
from llmscale.engine.cache.disk_backend import MAX_ERRORS, DiskBackend
from llmscale.engine.cache.keys import key_of
from llmscale.engine.cache.store import Store
from llmscale.engine.layers.cache import CacheLayer
from llmscale.runtime.cache import open_backend
from tests.engine.answering import RowByRow, answer, ends
from tests.engine.cache import (
    DAY_S,
    ROOMY_BYTES,
    answer_to,
    fill,
    flip_bytes,
    found_in,
    item,
    opened,
    questions,
    request,
    safe,
    sql,
)
from tests.servers.chat import ROOT
from tests.settings import config_of


@asynccontextmanager
async def replies_in(folder: Path) -> AsyncIterator[CacheBackend | None]:
    """Open the replies as a run does: None where they can't be opened."""
    replies = open_backend(config_of(cache_dir=str(folder)).cache)
    try:
        yield replies
    finally:
        if replies is not None:
            async with asyncio.timeout(10):
                await replies.aclose()


async def right_answers(replies: CacheBackend, asked: list[Request]) -> int:
    """Count the hits; fail where one has another's answer."""
    hits = 0
    for one in asked:
        entry = await found_in(replies, one)
        assert entry is None or entry.reply == answer_to(one)
        hits += entry is not None
    return hits


class Watched(Store):
    """A store that notes its look-ups; those for `failing_from` keys or more at once raise."""

    def __init__(self, folder: Path, error: Exception | None = None, failing_from: int = 1) -> None:
        super().__init__(folder, ROOMY_BYTES)
        self.lookups: list[list[str]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self._error = error
        self._failing_from = failing_from

    def get_many(self, keys: Sequence[str]) -> dict[str, Entry]:
        self.lookups.append(list(keys))
        if self._error is not None and len(keys) >= self._failing_from:
            raise self._error
        return super().get_many(keys)

    def add(self, group: Sequence[StoredEntry], *, replace: bool = True) -> int:
        assert self.go_on.wait(10)
        return super().add(group, replace=replace)


@asynccontextmanager
async def replies_from(store: Watched) -> AsyncIterator[DiskBackend]:
    """Open the replies in a store."""
    replies = DiskBackend(store)
    try:
        yield replies
    finally:
        store.go_on.set()
        async with asyncio.timeout(10):
            await replies.aclose()


async def get_at_once(replies: CacheBackend, asked: Sequence[Request]) -> list[bool]:
    """Look questions up together and tell which are hits, each with its answer."""
    entries = await replies.get_many([key_of(one) for one in asked])
    for one in asked:
        assert key_of(one) not in entries or entries[key_of(one)].reply == answer_to(one)
    return [key_of(one) in entries for one in asked]


# --- look-ups


async def test_what_is_asked_together_is_one_look_up(folder: Path) -> None:
    first, second = questions(20)[:10], questions(20)[10:]
    fill(folder, [*first, *second[:5]])
    store = Watched(folder)
    async with replies_from(store) as replies:
        assert await get_at_once(replies, first) == [True] * 10
        assert await get_at_once(replies, second) == [True] * 5 + [False] * 5
        assert store.lookups == [[key_of(one) for one in part] for part in (first, second)]


async def test_one_key_that_is_asked_for_twice_is_found(folder: Path) -> None:
    fill(folder, [request()])
    async with replies_from(Watched(folder)) as replies:
        assert await get_at_once(replies, [request(), request()]) == [True, True]


async def test_of_what_is_asked_together_only_what_is_not_on_its_way_is_looked_up(
    folder: Path,
) -> None:
    asked = questions(3)
    fill(folder, asked[:1])
    store = Watched(folder)
    store.go_on.clear()
    async with replies_from(store) as replies:
        replies.put(*item(asked[1]))
        assert await get_at_once(replies, asked) == [True, True, False]
        assert store.lookups == [[key_of(asked[0]), key_of(asked[2])]]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE Cache SET value = zeroblob(LENGTH(value)) WHERE key = ?",
        "UPDATE Cache SET value = CAST(x'ff' AS TEXT) WHERE key = ?",
        "UPDATE Cache SET value = NULL WHERE key = ?",
        "UPDATE Cache SET mode = 4 WHERE key = ?",
        "UPDATE Cache SET mode = CAST(x'ff' AS TEXT) WHERE key = ?",
        "UPDATE Cache SET filename = CAST(x'ff' AS TEXT) WHERE key = ?",
    ],
)
async def test_a_damaged_row_among_others_is_a_miss_and_the_others_are_hits(
    folder: Path, damage: str
) -> None:
    asked = questions(5)
    fill(folder, asked)
    sql(folder, damage, key_of(asked[2]))
    async with replies_from(Watched(folder)) as replies:
        assert await get_at_once(replies, asked) == [True, True, False, True, True]
        assert (replies.summary()["refused"], replies.summary()["errors"]) == (1, 0)


async def test_where_the_look_up_of_many_fails_each_key_is_looked_up_on_its_own(
    folder: Path,
) -> None:
    asked = questions(5)
    fill(folder, asked[:3])
    store = Watched(folder, sqlite3.DatabaseError("malformed"), failing_from=2)
    async with replies_from(store) as replies:
        assert await get_at_once(replies, asked) == [True] * 3 + [False] * 2
        assert [len(keys) for keys in store.lookups] == [5, 1, 1, 1, 1, 1]
        assert replies.summary()["errors"] == 1


async def test_among_those_of_one_look_up_too_none_is_made_after_so_many_that_failed(
    folder: Path,
) -> None:
    store = Watched(folder, sqlite3.DatabaseError("malformed"))
    async with replies_from(store) as replies:
        assert not any(await get_at_once(replies, questions(3 * MAX_ERRORS)))
        assert len(store.lookups) == replies.summary()["errors"] == MAX_ERRORS


async def test_an_entry_that_is_on_its_way_is_found_before_it_is_on_disk(folder: Path) -> None:
    store = Watched(folder)
    store.go_on.clear()
    async with replies_from(store) as replies:
        replies.put(*item(request()))
        assert await right_answers(replies, [request()]) == 1
        assert store.lookups == []
        with opened(folder) as other:
            assert other.get(key_of(request())) is None
        store.go_on.set()
        await safe(replies)
        assert await right_answers(replies, [request()]) == 1
        assert len(store.lookups) == 1
        with opened(folder) as other:
            assert other.get(key_of(request())) is not None


class Right(RowByRow):
    """Answers right and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def answer(self, request: Request) -> Reply:
        self.calls += 1
        return answer_to(request)


async def test_a_row_is_answered_before_its_answer_is_on_disk_and_the_next_is_a_hit(
    folder: Path,
) -> None:
    store, inner = Watched(folder), Right()
    store.go_on.clear()
    async with replies_from(store) as replies:
        cached = CacheLayer(inner, replies, Stats())
        async with asyncio.timeout(10):
            answers = [await answer(cached, request()) for _ in range(2)]
        assert [one.cached for one in answers] == [False, True]
        assert inner.calls == 1


async def test_rows_of_a_group_that_ask_the_same_are_all_answered_from_the_disk(
    folder: Path,
) -> None:
    """The look-up ends before those who wait for it have begun to wait."""
    one, other = questions(2)
    fill(folder, [one])
    async with replies_from(Watched(folder)) as replies:
        cached = CacheLayer(Right(), replies, Stats())
        async with asyncio.timeout(10):
            found = await ends(cached, [one, one, other, one])
    assert [isinstance(end, Reply) and end.cached for end in found] == [True, True, False, True]


# --- what goes wrong


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.DatabaseError("database disk image is malformed"),
        sqlite3.OperationalError("database is locked"),
        OSError(5, "Input/output error"),
        TypeError("'int' object is not callable"),
        RecursionError(),
    ],
)
async def test_a_look_up_that_fails_is_a_miss_and_after_some_none_is_made(
    folder: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store = Watched(folder, error)
    async with replies_from(store) as replies:
        for number in range(3 * MAX_ERRORS):
            assert await replies.get_many([str(number)]) == {}
    assert len(store.lookups) == MAX_ERRORS
    assert replies.summary()["errors"] == MAX_ERRORS
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "the run goes on" in caplog.text
    assert "database is locked" not in caplog.text


async def test_the_summary_counts_what_happened(folder: Path) -> None:
    stored, damaged = questions(2)
    fill(folder, [damaged])
    sql(folder, "UPDATE Cache SET mode = 4")
    async with replies_in(folder) as replies:
        assert replies is not None
        assert await found_in(replies, damaged) is None
        replies.put(*item(stored))
        await safe(replies)
        assert await found_in(replies, stored) is not None
        assert replies.summary() == {
            "stored": 1,
            "dropped": 0,
            "evicted": 0,
            "refused": 1,
            "errors": 0,
        }


async def test_a_hit_of_an_old_entry_is_noted_for_eviction(folder: Path) -> None:
    hit, other = questions(2)
    fill(folder, [hit, other], age_s=2 * DAY_S)
    sql(folder, "UPDATE Cache SET access_time = 1")
    async with replies_in(folder) as replies:
        assert replies is not None
        assert await found_in(replies, hit) is not None
    used = dict(sql(folder, "SELECT key, access_time FROM Cache"))
    assert used[key_of(hit)] > 1
    assert used[key_of(other)] == 1


# --- S02: the file is damaged

ASKED = questions(1000)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store with a thousand entries, made once."""
    folder = tmp_path_factory.mktemp("whole") / "cache"
    fill(folder, ASKED)
    return folder


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("flips", [1, 30, 1000])
async def test_flipped_bytes_never_give_a_wrong_answer_or_an_error(
    folder: Path, whole: Path, flips: int, seed: int
) -> None:
    shutil.copytree(whole, folder)
    flip_bytes(folder, flips, seed)
    async with replies_in(folder) as replies:
        if replies is None:
            return
        hits = await right_answers(replies, ASKED)
        assert hits < len(ASKED) or flips == 1
        for one in questions(1010)[1000:]:
            replies.put(*item(one))
            await safe(replies)


async def test_few_flipped_bytes_cost_few_hits(folder: Path, whole: Path) -> None:
    """Or the test above would pass where every entry is given up."""
    shutil.copytree(whole, folder)
    rows = sql(folder, "SELECT rowid FROM Cache ORDER BY key LIMIT 10")
    for (rowid,) in rows:
        sql(folder, "UPDATE Cache SET value = zeroblob(LENGTH(value)) WHERE rowid = ?", rowid)
    async with replies_in(folder) as replies:
        assert replies is not None
        assert await right_answers(replies, ASKED) == len(ASKED) - 10
        assert replies.summary()["refused"] == 10


async def test_values_that_were_swapped_are_misses(folder: Path, whole: Path) -> None:
    shutil.copytree(whole, folder)
    values = [value for (value,) in sql(folder, "SELECT value FROM Cache ORDER BY rowid")]
    with closing(sqlite3.connect(folder / "cache.db")) as connection:
        shifted = [(value, rowid) for rowid, value in enumerate([values[-1], *values[:-1]], 1)]
        connection.executemany("UPDATE Cache SET value = ? WHERE rowid = ?", shifted)
        connection.commit()
    async with replies_in(folder) as replies:
        assert replies is not None
        assert await right_answers(replies, ASKED) == 0
        assert replies.summary()["refused"] == len(ASKED)


def cut(share: float) -> Callable[[Path], None]:
    """Return what cuts a file to a share of its size."""
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def fill_with_noise(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_with_text(path: Path) -> None:
    path.write_text("this is no database\n" * 1000)


def keep_the_head(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + os.urandom(len(content) - 100))


@pytest.mark.parametrize(
    ("damage", "can_be_opened"),
    [
        pytest.param(fill_with_noise, False, id="noise"),
        pytest.param(replace_with_text, False, id="text"),
        pytest.param(keep_the_head, False, id="noise behind the head"),
        pytest.param(replace_with_folder, False, id="a folder in its place"),
        pytest.param(cut(0.5), None, id="cut in half"),
        pytest.param(cut(0.999), None, id="cut a little"),
        pytest.param(cut(0), True, id="empty"),
        pytest.param(Path.unlink, True, id="gone"),
    ],
)
async def test_a_ruined_file_costs_hits_and_nothing_else(
    folder: Path,
    whole: Path,
    damage: Callable[[Path], None],
    can_be_opened: bool | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(whole, folder)
    damage(folder / "cache.db")
    async with replies_in(folder) as replies:
        if can_be_opened is not None:
            assert (replies is not None) == can_be_opened
        if replies is None:
            assert "can't open the cache" in caplog.text
            assert "continuing without a cache" in caplog.text
            return
        assert await right_answers(replies, ASKED) < len(ASKED)
        replies.put(*item(request("new")))
        await safe(replies)


async def test_a_file_that_is_ruined_while_it_is_open_costs_hits_and_nothing_else(
    folder: Path, whole: Path
) -> None:
    shutil.copytree(whole, folder)
    async with replies_in(folder) as replies:
        assert replies is not None
        assert await right_answers(replies, ASKED[:10]) == 10
        size_bytes = (folder / "cache.db").stat().st_size
        with (folder / "cache.db").open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(size_bytes - 4096))
        assert await right_answers(replies, ASKED) < len(ASKED)
        replies.put(*item(request("new")))
        await safe(replies)


async def test_a_folder_that_is_removed_while_it_is_open_is_no_error(
    folder: Path, whole: Path
) -> None:
    shutil.copytree(whole, folder)
    async with replies_in(folder) as replies:
        assert replies is not None
        await right_answers(replies, ASKED[:10])
        shutil.rmtree(folder)
        await right_answers(replies, ASKED)
        replies.put(*item(request("new")))
        await safe(replies)


def pragma_on_connections(monkeypatch: pytest.MonkeyPatch, pragma: str) -> None:
    """Set something on every connection to SQLite that is made from now on."""
    connect: Any = sqlite3.connect

    def connect_and_set(*args: object, **kwargs: object) -> object:
        connection = connect(*args, **kwargs)
        connection.execute(f"PRAGMA {pragma}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_and_set)


async def test_a_full_disk_drops_answers_and_keeps_hits(
    folder: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, folder)
    pragma_on_connections(monkeypatch, "max_page_count = 1")  # no page more than there are
    async with replies_in(folder) as replies:
        assert replies is not None
        for number in range(500):
            replies.put(*item(request(f"new {number}")))
        await safe(replies)
        summary = replies.summary()
        assert summary["dropped"] > 400
        assert summary["stored"] + summary["dropped"] == 500
        assert await right_answers(replies, ASKED) == len(ASKED)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
async def test_a_folder_that_can_not_be_written_is_a_run_without_a_cache(
    folder: Path, whole: Path
) -> None:
    shutil.copytree(whole, folder)
    (folder / "cache.db").chmod(0o400)
    folder.chmod(0o500)
    async with replies_in(folder) as replies:
        assert replies is None


async def test_a_store_that_is_read_only_gives_hits_and_drops_answers(
    folder: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, folder)
    store = Store(folder, ROOMY_BYTES)
    pragma_on_connections(monkeypatch, "query_only = 1")  # on that of the writing thread
    replies = DiskBackend(store)
    assert await right_answers(replies, ASKED) == len(ASKED)
    replies.put(*item(request("new")))
    async with asyncio.timeout(10):
        await replies.aclose()
    assert replies.summary()["dropped"] == 1


async def test_two_runs_at_once_share_what_they_store(folder: Path) -> None:
    asked = questions(100)
    async with replies_in(folder) as one, replies_in(folder) as other:
        assert one is not None
        assert other is not None
        for replies, part in ((one, asked[:50]), (other, asked[50:])):
            for question in part:
                replies.put(*item(question))
            await safe(replies)
        assert await right_answers(one, asked) == await right_answers(other, asked) == 100


async def test_a_look_up_does_not_wait_for_who_writes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LOCK_TIMEOUT_S", 0.05)
    asked = questions(1)
    fill(folder, asked)
    with closing(sqlite3.connect(folder / "cache.db")) as other:
        async with replies_in(folder) as replies:
            assert replies is not None
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM Cache")
            assert await right_answers(replies, asked) == 1
            other.rollback()
            assert replies.summary()["errors"] == 0


KILLED = """
import os, sys
from pathlib import Path
from tests.engine.cache import ROOMY_BYTES, item, questions
from llmscale.engine.cache.store import Store

store = Store(Path(sys.argv[1]), ROOMY_BYTES)
store.add([item(one) for one in questions(10)])
os.kill(os.getpid(), 9)
"""


def test_entries_survive_a_process_that_is_killed(folder: Path) -> None:
    """What was committed is in the log of SQLite, which the next to open it takes over."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert (folder / "cache.db-wal").stat().st_size > 0
    with opened(folder) as store:
        for one in questions(10):
            assert store.get(key_of(one)) is not None
