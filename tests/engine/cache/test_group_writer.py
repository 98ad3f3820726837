"""Group commit: many answers a transaction, off the event loop, and never an error for a row."""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from llmscale.core.cache_records import StoredEntry
from llmscale.engine.cache import group_writer as writing
from llmscale.engine.cache import store as stores
from llmscale.engine.cache.group_writer import GroupWriter
from llmscale.engine.cache.keys import key_of
from llmscale.engine.cache.store import Store
from tests.engine.cache import (
    DAY_S,
    ROOMY_BYTES,
    answer_to,
    bulky,
    entry_of,
    item,
    opened,
    questions,
    reply,
    request,
    safe,
)


class Watched(Store):
    """A store that notes its transactions, and can be held up or made to fail."""

    def __init__(self, folder: Path, size_limit_bytes: int = ROOMY_BYTES) -> None:
        super().__init__(folder, size_limit_bytes)
        self.groups: list[int] = []
        self.used: list[list[str]] = []
        self.rooms = 0
        self.threads: set[int] = set()
        self.go_on = threading.Event()
        self.go_on.set()
        self.failing: Exception | None = None

    def add(self, group: Sequence[StoredEntry], *, replace: bool = True) -> int:
        self.groups.append(len(group))
        self.threads.add(threading.get_ident())
        assert self.go_on.wait(10)
        if self.failing is not None:
            raise self.failing
        return super().add(group, replace=replace)

    def note_used(self, keys: Sequence[str]) -> None:
        self.used.append(list(keys))
        super().note_used(keys)

    def evict(self) -> int:
        self.rooms += 1
        return super().evict()


@asynccontextmanager
async def writing_to(store: Store, *, replace: bool = True) -> AsyncIterator[GroupWriter]:
    """Yield a writer; close it and its store."""
    writer = GroupWriter(store, replace=replace)
    try:
        yield writer
    finally:
        async with asyncio.timeout(10):
            await writer.close()
        store.close()


async def until(condition: Callable[[], object]) -> None:
    """Let others work until it is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def store_each(writer: GroupWriter, *items: StoredEntry) -> None:
    """Store entries one after the other, each in a group of its own."""
    for one in items:
        writer.put(one)
        await safe(writer)


def missing(folder: Path, items: list[StoredEntry]) -> list[str]:
    """Return the keys that are not found with their right answers."""
    with opened(folder) as store:
        return [one.key for one in items if store.get(one.key) != one.entry]


@asynccontextmanager
async def held_up(store: Watched) -> AsyncIterator[GroupWriter]:
    """Yield a writer whose store does not answer until `go_on` is set, which it is at the end."""
    store.go_on.clear()
    async with writing_to(store) as writer:
        try:
            yield writer
        finally:
            store.go_on.set()


async def test_puts_in_flight_share_a_transaction(folder: Path) -> None:
    items = [item(one) for one in questions(200)]
    store = Watched(folder)
    async with held_up(store) as writer:
        writer.put(items[0])
        await until(lambda: store.groups)
        for one in items[1:]:  # the loop is free while the disk is not
            writer.put(one)
        store.go_on.set()
        await safe(writer)
        assert store.groups == [1, 199]
        assert writer.stored == 200
    assert missing(folder, items) == []


async def test_a_lone_answer_is_stored_at_once_and_is_on_disk_when_it_is_said_to_be_safe(
    folder: Path,
) -> None:
    async with writing_to(Watched(folder)) as writer:
        for one in [item(asked) for asked in questions(5)]:
            await store_each(writer, one)
            assert missing(folder, [one]) == []


async def test_the_disk_is_never_touched_in_the_thread_of_the_loop(folder: Path) -> None:
    store = Watched(folder)
    async with writing_to(store) as writer:
        await store_each(writer, item(request()))
    assert len(store.threads) == 1
    assert threading.get_ident() not in store.threads


async def test_close_stores_what_is_on_its_way_and_says_so(folder: Path) -> None:
    items = [item(one) for one in questions(100)]
    calls: list[str] = []
    async with writing_to(Watched(folder)) as writer:
        for one in items:
            writer.put(one)
        writer.when_safe(lambda: calls.append("safe"))
    assert missing(folder, items) == []
    assert calls == ["safe"]


async def test_close_ends_the_thread_and_lets_go_of_the_file(folder: Path) -> None:
    store = Watched(folder)
    async with writing_to(store) as writer:
        await store_each(writer, item(request()))
        (thread,) = (one for one in threading.enumerate() if one.name == "cache-writer")
    assert not thread.is_alive()
    # the last connection that closes takes the log of SQLite with it
    assert [path.name for path in folder.iterdir()] == ["cache.db"]


async def test_without_a_put_nothing_is_written(folder: Path) -> None:
    store = Watched(folder)
    async with writing_to(store):
        await asyncio.sleep(0.01)
    assert (store.groups, store.used, store.rooms) == ([], [], 0)


async def test_an_entry_that_stays_is_not_counted_as_stored(folder: Path) -> None:
    old, new = questions(2)
    usurper = StoredEntry(key_of(old), entry_of(new), old.model)
    async with writing_to(Watched(folder), replace=False) as writer:
        await store_each(writer, item(old), usurper, item(new))
        assert (writer.stored, writer.dropped) == (2, 0)
    assert missing(folder, []) == []
    with opened(folder) as store:
        found = store.get(key_of(old))
        assert found is not None
        assert found.reply == answer_to(old)


# --- when it is safe


async def test_where_nothing_is_on_its_way_all_is_safe_at_once(folder: Path) -> None:
    calls: list[str] = []
    async with writing_to(Watched(folder)) as writer:
        writer.when_safe(lambda: calls.append("before any"))
        assert calls == ["before any"]
        await store_each(writer, item(request()))
        writer.when_safe(lambda: calls.append("after the last"))
        assert calls == ["before any", "after the last"]


async def test_nothing_is_said_to_be_safe_before_it_is_committed(folder: Path) -> None:
    store = Watched(folder)
    calls: list[str] = []
    async with held_up(store) as writer:
        writer.put(item(request()))
        writer.when_safe(lambda: calls.append("asked while it gathers"))
        await until(lambda: store.groups)
        writer.when_safe(lambda: calls.append("asked while it is committed"))
        await asyncio.sleep(0.01)
        assert calls == []
        store.go_on.set()
        await until(lambda: calls)
        assert calls == ["asked while it gathers", "asked while it is committed"]


async def test_who_asks_waits_for_all_groups_that_are_on_their_way_and_for_no_later_one(
    folder: Path,
) -> None:
    one, other, later = (item(asked) for asked in questions(3))
    store = Watched(folder)
    not_there: list[list[str]] = []
    async with held_up(store) as writer:
        writer.put(one)
        await until(lambda: store.groups)
        writer.put(other)
        writer.when_safe(lambda: not_there.append(missing(folder, [one, other])))
        writer.when_safe(store.go_on.clear)
        store.go_on.set()
        await until(lambda: not_there)
        assert not_there == [[]]
        assert store.groups == [1, 1]
        writer.put(later)
        await until(lambda: len(store.groups) == 3)
        assert missing(folder, [later]) == [later.key]


async def test_who_asks_just_as_a_group_is_over_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop may have heard of the end and gone on before the thread does anything more."""
    loop = asyncio.get_running_loop()
    go_on = threading.Event()
    really = loop.call_soon_threadsafe

    def then_wait(*arguments: Any, **named: Any) -> asyncio.Handle:
        handle = really(*arguments, **named)
        assert go_on.wait(10)
        return handle

    async with writing_to(Watched(folder)) as writer:
        monkeypatch.setattr(loop, "call_soon_threadsafe", then_wait)
        try:
            writer.put(item(request()))
            await safe(writer)
            await safe(writer)
        finally:
            go_on.set()


async def test_a_group_that_is_dropped_is_over_too(folder: Path) -> None:
    store = Watched(folder)
    store.failing = OSError("as scripted")
    async with writing_to(store) as writer:
        writer.put(item(request()))
        await safe(writer)
        assert (writer.stored, writer.dropped) == (0, 1)


async def test_an_entry_is_found_until_it_is_on_disk(folder: Path) -> None:
    one = item(request())
    store = Watched(folder)
    async with held_up(store) as writer:
        assert writer.unsafe(one.key) is None
        writer.put(one)
        assert writer.unsafe(one.key) is one.entry, "while it gathers"
        await until(lambda: store.groups)
        assert writer.unsafe(one.key) is one.entry, "while it is committed"
        store.go_on.set()
        await safe(writer)
        assert writer.unsafe(one.key) is None
        assert missing(folder, [one]) == []


async def test_an_entry_that_is_dropped_is_not_found_any_more(folder: Path) -> None:
    one = item(request())
    store = Watched(folder)
    store.failing = OSError("as scripted")
    async with writing_to(store) as writer:
        writer.put(one)
        assert writer.unsafe(one.key) is one.entry
        await safe(writer)
        assert writer.unsafe(one.key) is None


async def test_of_two_entries_of_a_key_the_later_is_found_when_the_earlier_is_on_disk(
    folder: Path,
) -> None:
    one = item(request())
    later = one._replace(entry=replace(one.entry, reply=reply("later")))
    store = Watched(folder)
    found = []
    async with held_up(store) as writer:
        writer.put(one)
        await until(lambda: store.groups)
        writer.when_safe(lambda: found.append(writer.unsafe(one.key)))
        writer.put(later)
        store.go_on.set()
        await safe(writer)
    assert found == [later.entry]
    assert missing(folder, [later]) == []


# --- what goes wrong


async def test_a_locked_cache_drops_answers_and_raises_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stores, "LOCK_TIMEOUT_S", 0.05)
    lost, kept = (item(one) for one in questions(2))
    store = Watched(folder)
    with closing(sqlite3.connect(folder / "cache.db")) as other:
        async with writing_to(store) as writer:
            other.execute("BEGIN IMMEDIATE")
            await store_each(writer, lost)
            assert (writer.stored, writer.dropped) == (0, 1)
            other.rollback()
            await store_each(writer, kept)
            assert (writer.stored, writer.dropped) == (1, 1)
    assert missing(folder, [lost, kept]) == [lost.key]
    (record,) = caplog.records
    assert "the run goes on" in record.message
    assert "another process holds it" in record.message
    assert "database is locked" not in caplog.text


async def test_after_failures_in_a_row_nothing_more_is_tried(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of them may have waited a minute for a lock, and a row waits with it."""
    store = Watched(folder)
    store.failing = sqlite3.OperationalError("database or disk is full")
    async with writing_to(store) as writer:
        await store_each(writer, *(item(one) for one in questions(10)))
        assert len(store.groups) == writing.MAX_FAILURES
        assert (writer.stored, writer.dropped) == (0, 10)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


async def test_a_failure_now_and_then_does_not_add_up(folder: Path) -> None:
    store = Watched(folder)
    async with writing_to(store) as writer:
        for number, one in enumerate(questions(12)):
            store.failing = OSError("as scripted") if number % 2 else None
            await store_each(writer, item(one))
        assert (writer.stored, writer.dropped) == (6, 6)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), TypeError("odd"), AssertionError(), MemoryError()],
)
async def test_no_error_ends_the_thread_or_reaches_a_row(folder: Path, error: Exception) -> None:
    store = Watched(folder)
    store.failing = error
    async with writing_to(store) as writer:
        await store_each(writer, item(request("first")))
        store.failing = None
        await store_each(writer, item(request("second")))
        assert (writer.stored, writer.dropped) == (1, 1)


async def test_an_answer_that_no_json_holds_is_dropped(folder: Path) -> None:
    odd = item(request())
    odd = odd._replace(entry=replace(odd.entry, reply=reply("\ud800")))
    async with writing_to(Watched(folder)) as writer:
        await store_each(writer, odd)
        assert (writer.stored, writer.dropped) == (0, 1)


async def test_an_answer_that_was_stored_is_not_dropped_when_eviction_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "EVICT_EVERY", 1)
    store = Watched(folder)

    def fail() -> int:
        raise OSError("as scripted")

    monkeypatch.setattr(store, "evict", fail)
    async with writing_to(store) as writer:
        await store_each(writer, item(request()))
        assert (writer.stored, writer.dropped) == (1, 0)


# --- room and use


async def test_entries_are_evicted_every_so_many_entries_and_at_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "EVICT_EVERY", 10)
    store = Watched(folder)
    async with writing_to(store) as writer:
        await store_each(writer, *(item(one) for one in questions(25)))
        await until(lambda: store.rooms == 2)
    assert store.rooms == 3


async def test_the_size_limit_holds_at_the_end_and_what_went_is_counted(folder: Path) -> None:
    items = [bulky(number) for number in range(60)]
    async with writing_to(Watched(folder, 600_000)) as writer:
        await store_each(writer, *items)
    assert writer.evicted == len(missing(folder, items))
    assert 0 < writer.evicted < 60
    assert (folder / "cache.db").stat().st_size <= 600_000


async def test_a_use_is_noted_only_of_what_was_stored_a_day_ago(folder: Path) -> None:
    young, old = questions(2)
    store = Watched(folder)
    async with writing_to(store) as writer:
        writer.note_used("young", entry_of(young, age_s=DAY_S - 60))
        writer.note_used("old", entry_of(old, age_s=DAY_S + 60))
    assert store.used == [["old"]]


async def test_uses_are_written_in_groups_even_without_a_put(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "USED_GROUP", 5)
    entry = entry_of(request(), age_s=2 * DAY_S)
    store = Watched(folder)
    async with writing_to(store) as writer:
        for number in range(4):
            writer.note_used(str(number), entry)
        await asyncio.sleep(0.01)
        assert store.used == []
        writer.note_used("4", entry)
        await until(lambda: store.used)
    assert store.used == [["0", "1", "2", "3", "4"]]


async def test_what_was_used_outlives_what_was_not(folder: Path) -> None:
    items = [
        one._replace(entry=replace(one.entry, created=time.time() - 2 * DAY_S))
        for one in (bulky(number) for number in range(60))
    ]
    with opened(folder) as store:
        for one in items:
            store.add([one])
    async with writing_to(Watched(folder, 600_000)) as writer:
        writer.note_used(items[0].key, items[0].entry)
        await store_each(writer, bulky(100))
    with opened(folder) as store:
        assert store.holds(items[0].key)
        assert not store.holds(items[1].key)
