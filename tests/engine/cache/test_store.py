"""Entries on disk: found again, evicted by use, expired first, counted as they are removed."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import diskcache
import pytest
from msgspec.structs import replace

from llmscale.core.cache_records import Entry, StoredEntry
from llmscale.engine.cache import store as stores
from llmscale.engine.cache.keys import key_of
from llmscale.engine.cache.store import Store, reason_of
from tests.engine.cache import (
    DAY_S,
    ROOMY_BYTES,
    answer_to,
    bulky,
    entry_of,
    fill,
    item,
    opened,
    questions,
    request,
    sql,
)
from tests.servers.chat import ROOT


def held(store: Store, items: list[StoredEntry]) -> list[bool]:
    """Tell of each entry whether it is there."""
    return [store.holds(one.key) for one in items]


# --- what is stored is found


def test_what_was_added_is_found_by_a_store_that_is_opened_later(folder: Path) -> None:
    asked = questions(1200)  # more than two statements take
    fill(folder, asked)
    with opened(folder) as store:
        for one in asked:
            entry = store.get(key_of(one))
            assert entry is not None
            assert entry.reply == answer_to(one)
        assert store.get(key_of(request("never asked"))) is None
        assert store.refused == 0


def test_on_macos_a_checkpoint_reaches_the_disk_before_the_log_is_dropped(folder: Path) -> None:
    """Other systems have the setting, and no use of it."""
    with opened(folder) as store:
        assert store._cache._sql("PRAGMA checkpoint_fullfsync").fetchone() == (1,)


def test_the_later_of_two_entries_wins_in_a_group_and_after_it(folder: Path) -> None:
    first, second, third = (
        StoredEntry("k", Entry(replace(answer_to(request()), text=text), 0.0, {}), "sim/m")
        for text in ("first", "second", "third")
    )
    with opened(folder) as store:
        assert store.add([first, second]) == 1
        assert store.get("k") == second.entry
        assert store.add([third]) == 1
        assert store.get("k") == third.entry
        assert store.contents().entries == 1


def test_replacing_replaces_model_and_age_too(folder: Path) -> None:
    asked = request()
    with opened(folder, ttl_s=DAY_S) as store:
        store.add([item(asked, age_s=2 * DAY_S)._replace(model="sim/old")])
        assert store.get(key_of(asked)) is None
        store.add([item(asked)])
        assert store.get(key_of(asked)) is not None
        assert store.contents().models.keys() == {"openai/m"}
        assert store.contents().ages_s[0] < 60


def test_without_replacing_an_entry_that_is_there_stays(folder: Path) -> None:
    old, new = questions(2)
    usurper = StoredEntry(key_of(old), entry_of(new), old.model)
    with opened(folder) as store:
        store.add([item(old)])
        assert store.add([usurper, item(new)], replace=False) == 1
        found, added = store.get(key_of(old)), store.get(key_of(new))
        assert found is not None
        assert found.reply == answer_to(old)
        assert added is not None


def test_adding_nothing_is_no_error(folder: Path) -> None:
    with opened(folder) as store:
        assert store.add([]) == 0
        store.note_used([])


def test_a_group_is_stored_whole_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "_GROUP", 2)
    items = [item(one) for one in questions(6)]
    broken = items[4]._replace(model="\ud800")  # what SQLite can't take
    with opened(folder) as store:
        with pytest.raises(UnicodeEncodeError):
            store.add([*items[:4], broken])
        assert not any(held(store, items))
        assert store.add(items) == 6


def test_damaged_values_and_values_that_were_moved_are_misses_and_counted(folder: Path) -> None:
    cut, not_text, other, intact = asked = questions(4)
    fill(folder, asked)
    value = sql(folder, "SELECT value FROM Cache WHERE key = ?", key_of(cut))[0][0]
    sql(folder, "UPDATE Cache SET value = ? WHERE key = ?", value[:-1], key_of(cut))
    broken = "UPDATE Cache SET value = CAST(x'ff' AS TEXT) WHERE key = ?"
    sql(folder, broken, key_of(not_text))
    sql(
        folder,
        "UPDATE Cache SET value = (SELECT value FROM Cache WHERE key = ?) WHERE key = ?",
        key_of(intact),
        key_of(other),
    )
    with opened(folder) as store:
        for number, one in enumerate((cut, not_text, other), start=1):
            assert store.get(key_of(one)) is None
            assert store.refused == number
        assert store.get(key_of(intact)) is not None
        assert [key for key, _, _ in store.items()] == [key_of(intact)]


def test_items_are_all_that_can_be_used_with_their_models(folder: Path) -> None:
    asked = [*questions(250), request("other", model="sim/m")]
    fill(folder, asked)
    with opened(folder) as store:
        found = {key: (model, entry.reply) for key, model, entry in store.items()}
    assert found == {key_of(one): (one.model, answer_to(one)) for one in asked}


def test_many_look_ups_are_one_statement_and_more_than_it_takes_are_some(folder: Path) -> None:
    asked = questions(1200)
    fill(folder, asked[:1100])
    with opened(folder) as store:
        for count, statements in ((1, 1), (500, 1), (1200, 3)):
            made: list[str] = []
            store._cache._con.set_trace_callback(made.append)
            found = store.get_many([key_of(one) for one in asked[:count]])
            store._cache._con.set_trace_callback(None)
            assert len(made) == statements
            assert {key: entry.reply for key, entry in found.items()} == {
                key_of(one): answer_to(one) for one in asked[: min(count, 1100)]
            }


def test_looking_nothing_up_is_no_error(folder: Path) -> None:
    with opened(folder) as store:
        assert store.get_many([]) == {}


def test_a_group_that_fits_a_statement_is_committed_by_it(folder: Path) -> None:
    made: list[str] = []
    with opened(folder) as store:
        store._cache._con.set_trace_callback(made.append)
        store.add([item(one) for one in questions(50)])
        store._cache._con.set_trace_callback(None)
        with opened(folder) as other:
            assert other.contents().entries == 50
    assert {statement.split()[0] for statement in made}.isdisjoint({"BEGIN", "COMMIT"})


# --- eviction


@pytest.mark.parametrize("count", [1, 2, 9, 63, 64, 65, 499, 500, 501])
def test_groups_of_any_size_are_counted_and_found(count: int, folder: Path) -> None:
    group = [item(asked) for asked in questions(count)]
    keys = [one.key for one in group]
    with opened(folder) as store:
        assert store.add(group[: count // 2]) == count // 2
        assert store.add(group, replace=False) == count - count // 2
        assert store.add(group) == count
        store.note_used(keys)
        assert store.get_many(keys).keys() == set(keys)
        assert store.contents().entries == count


def test_groups_of_all_sizes_are_few_statements_since_each_is_kept() -> None:
    sizes = [len(stores._padded(range(count))) for count in range(1, 501)]
    assert all(n <= size <= 1.25 * n for n, size in enumerate(sizes, start=1))
    assert len(set(sizes)) <= 32
    assert stores._padded(()) == []


def test_a_thread_keeps_little_of_the_file_in_memory(folder: Path) -> None:
    with opened(folder) as store:
        settings = ("cache_size", "mmap_size", "page_size")
        pages, mapped, page_bytes = (
            store._cache._sql(f"PRAGMA {name}").fetchone()[0] for name in settings
        )
    assert (pages * page_bytes, mapped) == (2 * 1024 * 1024, 0)


def test_the_least_recently_used_go_first(folder: Path) -> None:
    items = [bulky(number) for number in range(100)]
    with opened(folder, size_limit_bytes=1_000_000) as store:
        store.add(items)
        used = items[:10]
        time.sleep(0.01)
        store.note_used([one.key for one in used])
        assert store.evict() > 0
        survivors = held(store, items)
        assert all(survivors[:10])
        assert 10 < sum(survivors) < 100
        # of the others, stored at one moment, no order is promised


def test_the_order_of_storing_decides_among_those_that_were_never_used(folder: Path) -> None:
    items = [bulky(number) for number in range(60)]
    with opened(folder, size_limit_bytes=600_000) as store:
        for one in items:
            store.add([one])
        evicted = store.evict()
        assert held(store, items) == [False] * evicted + [True] * (60 - evicted)


def test_a_look_up_writes_nothing(folder: Path) -> None:
    asked = request()
    fill(folder, [asked])
    before = sql(folder, "SELECT * FROM Cache")
    with opened(folder) as store:
        changes = "SELECT total_changes()"
        (made,) = store._cache._sql(changes).fetchone()
        for _ in range(10):
            assert store.get(key_of(asked)) is not None
        assert store._cache._sql(changes).fetchone() == (made,)
    assert sql(folder, "SELECT * FROM Cache") == before


@pytest.mark.parametrize("limit_bytes", [300_000, 1_000_000, 1_500_000])
def test_the_size_limit_holds_after_making_room(folder: Path, limit_bytes: int) -> None:
    items = [bulky(number) for number in range(100)]
    with opened(folder, size_limit_bytes=limit_bytes) as store:
        store.add(items)
        assert store.contents().size_bytes > limit_bytes
        evicted = store.evict()
        assert store.contents().size_bytes <= limit_bytes
        assert sum(held(store, items)) == 100 - evicted
        assert 0 < evicted < 100
        assert store.evict() == 0
    assert (folder / "cache.db").stat().st_size <= limit_bytes


def test_no_more_is_evicted_than_has_to_be(folder: Path) -> None:
    items = [bulky(number) for number in range(100)]
    with opened(folder, size_limit_bytes=1_000_000) as store:
        store.add(items)
        store.evict()
        assert store.contents().size_bytes > 1_000_000 - 15 * 20_000


def test_nothing_is_evicted_while_there_is_room(folder: Path) -> None:
    items = [bulky(number) for number in range(20)]
    with opened(folder) as store:
        store.add(items)
        assert store.evict() == 0
        assert all(held(store, items))


def test_many_entries_that_expire_at_one_moment_all_go(folder: Path) -> None:
    with opened(folder, ttl_s=DAY_S) as store:
        expired = item(request(), age_s=2 * DAY_S)
        store.add([expired._replace(key=f"{number:064x}") for number in range(450)])
        assert store.expire() == 450


def test_expired_entries_go_before_any_that_is_not(folder: Path) -> None:
    with opened(folder, ttl_s=DAY_S, size_limit_bytes=1_500_000) as store:
        live = [bulky(number) for number in range(40)]
        stale = [
            one._replace(entry=replace(one.entry, created=time.time() - 2 * DAY_S))
            for one in (bulky(number) for number in range(100, 160))
        ]
        store.add(live)
        store.add(stale)
        store.note_used([one.key for one in stale])  # recently used, and yet of no use
        assert store.contents().size_bytes > 1_500_000
        assert store.evict() == 0  # expired ones are not counted as evicted
        assert all(held(store, live))
        assert not any(held(store, stale))


# --- expiry


def test_an_entry_is_a_miss_after_its_time(folder: Path) -> None:
    old, young = questions(2)
    with opened(folder, ttl_s=100) as store:
        store.add([item(old, age_s=101), item(young, age_s=50)])
        assert store.get(key_of(old)) is None
        assert store.get(key_of(young)) is not None
        assert [key for key, _, _ in store.items()] == [key_of(young)]


def test_age_counts_from_when_it_was_paid_for_and_not_from_when_it_was_stored(
    folder: Path,
) -> None:
    """An entry that is imported does not begin a new life."""
    asked = request()
    with opened(folder, ttl_s=100) as store:
        store.add([item(asked, age_s=99.7)])
        assert store.get(key_of(asked)) is not None
        time.sleep(0.3)
        assert store.get(key_of(asked)) is None


def test_a_life_that_is_shorter_now_than_when_it_was_stored_counts(folder: Path) -> None:
    asked = request()
    fill(folder, [asked], age_s=200)
    with opened(folder) as store:
        assert store.get(key_of(asked)) is not None
    with opened(folder, ttl_s=100) as store:
        assert store.get(key_of(asked)) is None
        assert store.refused == 0
        assert list(store.items()) == []


def test_expire_drops_what_is_past_its_time_then_or_now(folder: Path) -> None:
    then, now, live = questions(3)
    with opened(folder, ttl_s=100) as store:
        store.add([item(then, age_s=150)])
    with opened(folder) as store:
        store.add([item(now, age_s=150), item(live, age_s=50)])
        assert store.expire() == 1
        assert held(store, [item(one) for one in (then, now, live)]) == [False, True, True]
    with opened(folder, ttl_s=100) as store:
        assert store.expire() == 1
        assert held(store, [item(one) for one in (then, now, live)]) == [False, False, True]
        assert store.expire() == 0


# --- counting and clearing

MODELS = [
    "openai/gpt-4.1-mini",
    'openai/it\'s "quoted"',
    "sim/a;DROP TABLE Cache;--",
    "local//a/path/100%_of[it]*.gguf",
    "sim/é",
]


def test_clear_removes_what_count_has_counted_whatever_the_models_are_called(
    folder: Path,
) -> None:
    asked = [request(f"{n}", model=model) for model in MODELS for n in range(3)]
    fill(folder, asked)
    with opened(folder) as store:
        for model in MODELS:
            literal = model.replace("[", "[[]").replace("*", "[*]")
            assert store.count(literal) == 3
            assert store.clear(literal) == 3
            assert store.count(literal) == 0
        assert store.contents().entries == 0


def test_clear_takes_a_shell_pattern_of_the_model(folder: Path) -> None:
    fill(folder, [request(model=model) for model in MODELS])
    with opened(folder) as store:
        assert store.count("openai/*") == 2
        assert store.count("OPENAI/*") == 0
        assert store.count("nothing") == 0
        assert store.clear("openai/*") == 2
        assert set(store.contents().models) == set(MODELS[2:])
        assert store.count() == 3
        assert store.clear() == 3


@pytest.mark.parametrize(
    ("older_than_s", "left"), [(None, 0), (0, 0), (60, 1), (7_200, 2), (DAY_S * 400, 3)]
)
def test_clear_takes_an_age(folder: Path, older_than_s: float | None, left: int) -> None:
    with opened(folder) as store:
        ages_s = (0, 3_600, DAY_S)
        pairs = zip(questions(3), ages_s, strict=True)
        store.add([item(one, age_s=age_s) for one, age_s in pairs])
        assert store.count(older_than_s=older_than_s) == 3 - left
        assert store.clear(older_than_s=older_than_s) == 3 - left
        assert store.count() == left


def test_a_cleared_store_gives_its_space_back(folder: Path) -> None:
    with opened(folder) as store:
        store.add([bulky(number) for number in range(100)])
        full = store.contents().size_bytes
        store.clear()
        assert store.contents().size_bytes < full / 10


def test_contents_count_entries_bytes_models_and_ages(folder: Path) -> None:
    with opened(folder) as store:
        empty = store.contents()
        assert (empty.entries, empty.models, empty.ages_s) == (0, {}, [])
        store.add([item(request("a"), age_s=3_600), item(request("b"))])
        store.add([item(request("a", model="sim/m"))])
        found = store.contents()
        stored = sql(folder, "SELECT SUM(LENGTH(value)) FROM Cache WHERE tag = 'openai/m'")
    assert found.entries == 3
    assert found.models["openai/m"] == (2, stored[0][0])
    assert found.models["sim/m"][0] == 1
    assert found.size_bytes >= sum(size for _, size in found.models.values())
    assert sorted(round(age_s / 60) for age_s in found.ages_s) == [0, 0, 60]


# --- on disk, and beside others


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_the_folder_or_a_file(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "a" / "cache"
    before = os.umask(umask)
    try:
        with opened(folder) as store:
            store.add([item(request())])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(("cache.db", "cache.db-shm", "cache.db-wal"), 0o600)


def test_another_thread_can_use_the_store_at_the_same_time(folder: Path) -> None:
    asked = questions(200)
    with opened(folder) as store:

        def add() -> None:
            with closing(store):  # the connection of this thread
                for one in asked:
                    store.add([item(one)])

        adding = threading.Thread(target=add)
        adding.start()
        found = 0
        while adding.is_alive():
            for one in asked:
                entry = store.get(key_of(one))
                assert entry is None or entry.reply == answer_to(one)
                found += entry is not None
        adding.join()
        assert all(held(store, [item(one) for one in asked]))
    assert found > 0


OTHER_PROCESS = """
import sys
from pathlib import Path
from tests.engine.cache import answer_to, item, opened, questions, request
from llmscale.engine.cache.keys import key_of

folder, name = Path(sys.argv[1]), sys.argv[2]
with opened(folder) as store:
    for number in range(150):
        own, shared = request(f"{name} {number}"), request(f"shared {number}")
        store.add([item(own), item(shared)])
        for one in (own, shared):
            assert store.get(key_of(one)).reply == answer_to(one)
        if number % 50 == 0:
            store.evict()
print("done")
"""


def test_processes_share_a_new_folder_and_nothing_is_lost(folder: Path) -> None:
    names = ("a", "b", "c")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, str(folder), name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in running:
        assert process.communicate(timeout=30) == ("done\n", "")
    with opened(folder) as store:
        assert store.contents().entries == 150 * (len(names) + 1)
        for name in (*names, "shared"):
            for number in range(150):
                one = request(f"{name} {number}")
                entry = store.get(key_of(one))
                assert entry is not None
                assert entry.reply == answer_to(one)


def test_a_store_that_another_process_holds_can_be_read(folder: Path) -> None:
    asked = request()
    fill(folder, [asked])
    with opened(folder) as store, closing(sqlite3.connect(folder / "cache.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM Cache")
        assert store.get(key_of(asked)) is not None
        other.rollback()


def test_a_store_that_stays_locked_raises_after_the_timeout(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LOCK_TIMEOUT_S", 0.05)
    fill(folder, questions(1))
    with opened(folder) as store, closing(sqlite3.connect(folder / "cache.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(stores.STORE_ERRORS):
            store.add([item(request())])
        with pytest.raises(stores.STORE_ERRORS):
            store.clear()
        other.rollback()
        assert store.add([item(request())]) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (diskcache.Timeout(), "it can't be written, or another process holds it"),
        (diskcache.Timeout(3), "it can't be written, or another process holds it"),
        (sqlite3.OperationalError("database is locked"), "another process holds it"),
        (sqlite3.OperationalError("database table is locked: Cache"), "another process holds it"),
        (sqlite3.DatabaseError("file is not a database"), "file is not a database"),
        (OSError(13, "Permission denied", "f"), "[Errno 13] Permission denied: 'f'"),
        (TypeError(), "TypeError"),
    ],
)
def test_a_reason_is_words_for_a_person_and_never_that_the_database_is_locked(
    error: Exception, reason: str
) -> None:
    assert reason_of(error) == reason


def test_the_lock_timeout_is_as_long_as_sharing_needs() -> None:
    """Measured: 8 processes with 60 s lose nothing; the slowest of their writes took 0.5 s."""
    assert stores.LOCK_TIMEOUT_S == 60


def test_the_size_limit_of_an_earlier_run_is_not_kept(folder: Path) -> None:
    items = [bulky(number) for number in range(30)]
    with opened(folder, size_limit_bytes=10_000) as store:
        store.add(items)
    with opened(folder, size_limit_bytes=ROOMY_BYTES) as store:
        assert store.evict() == 0
        assert all(held(store, items))
