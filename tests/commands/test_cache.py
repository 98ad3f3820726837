"""`llmscale cache`: statistics, explanations, removal, export and import."""

import contextlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from llmscale.commands import cache as cache_use
from llmscale.commands.cache import Explanation, Miss
from llmscale.commands.cache.explanation import MAX_EXPLAINED
from llmscale.commands.cache.statistics import LifetimeUse
from llmscale.config import Config
from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.records import Request
from llmscale.engine.cache import history
from llmscale.engine.cache.history import RunUse, Use
from llmscale.engine.cache.keys import key_of
from tests.engine.cache import (
    DAY_S,
    answer_to,
    bulky,
    fill,
    flip_bytes,
    item,
    opened,
    pickle_that_touches,
    questions,
    request,
    sql,
)
from tests.settings import config_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def config(folder: Path, **settings: Any) -> Config:
    return config_of(**({"cache_dir": str(folder), "model": "openai/m"} | settings))


def line_of(asked: Request, **fields: Any) -> bytes:
    """Return the line of the input that makes this request."""
    return orjson.dumps({"messages": asked.messages, "model": asked.model} | fields) + b"\n"


def write_lines(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"".join(lines))
    return str(path)


# --- stats


def note(folder: Path, number: int, **models: Use) -> None:
    run = RunUse(f"2026-01-01T00:00:{number:02}+00:00", f"out {number}", models, 5, 4, 3, 2, 1)
    history.append(folder, run)


NO_USE = LifetimeUse(
    hits=0, misses=0, deduped=0, saved_tokens=0, saved_usd=0.0, hit_rate=None, runs=0
)


def test_an_empty_cache_has_zeros_and_no_rate(folder: Path) -> None:
    found = cache_use.stats(config(folder).cache)
    assert (found.folder, found.entries, found.life) == (str(folder), 0, NO_USE)
    assert (found.stored, found.evicted, found.refused) == (0, 0, 0)
    assert found.ages == {"1h": 0, "1d": 0, "7d": 0, "30d": 0, "older": 0}
    assert (found.models, found.last_runs) == ({}, [])


def test_the_history_of_all_runs_adds_up_by_model(folder: Path) -> None:
    fill(folder, [*questions(3), request(model="sim/new")])
    one, other = Use(3, 1, 2, 100, 0.5), Use(1, 3, 0, 50, 0.25)
    note(folder, 1, **{"openai/m": one})
    note(folder, 2, **{"openai/m": other, "openai/gone": other})
    found = cache_use.stats(config(folder).cache)
    sums: dict[str, Any] = {
        "hits": 5,
        "misses": 7,
        "deduped": 2,
        "saved_tokens": 200,
        "saved_usd": 1.0,
    }
    assert found.life == LifetimeUse(**sums, hit_rate=round(5 / 12, 6), runs=2)
    assert (found.stored, found.evicted, found.refused) == (10, 6, 4)
    gone, model, new = found.models.values()
    assert list(found.models) == ["openai/gone", "openai/m", "sim/new"]
    assert (model.hits, model.misses, model.saved_usd, model.hit_rate) == (4, 4, 0.75, 0.5)
    assert model.entries == 3
    assert model.bytes > 0
    assert (gone.entries, gone.bytes, new.hit_rate) == (0, 0, None)


def test_the_last_ten_runs_are_listed_latest_last(folder: Path) -> None:
    fill(folder, [])
    for number in range(12):
        note(folder, number, a=Use(number), b=Use(1, 1))
    runs = cache_use.stats(config(folder).cache).last_runs
    assert [run.output for run in runs] == [f"out {number}" for number in range(2, 12)]
    assert runs[-1].started == "2026-01-01T00:00:11+00:00"
    assert (runs[-1].hits, runs[-1].misses) == (12, 1)


def test_entries_are_counted_by_age(folder: Path) -> None:
    ages_s = [0, 3_500, 3_700, DAY_S + 60, 6 * DAY_S, 8 * DAY_S, 31 * DAY_S, 900 * DAY_S]
    with opened(folder) as store:
        pairs = zip(questions(8), ages_s, strict=True)
        store.add([item(one, age_s=age_s) for one, age_s in pairs])
    assert cache_use.stats(config(folder).cache).ages == {
        "1h": 2,
        "1d": 1,
        "7d": 2,
        "30d": 1,
        "older": 2,
    }


# --- explain


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


# --- clear and prune


def test_clear_removes_only_with_really(folder: Path) -> None:
    fill(folder, [*questions(3), request(model="sim/m")])
    settings = config(folder)
    assert cache_use.clear(settings.cache, "openai/*", None, really=False) == 3
    assert cache_use.stats(settings.cache).entries == 4
    assert cache_use.clear(settings.cache, "openai/*", None, really=True) == 3
    assert cache_use.stats(settings.cache).models.keys() == {"sim/m"}


def test_clear_by_age_keeps_younger_entries(folder: Path) -> None:
    old, young = questions(2)
    with opened(folder) as store:
        store.add([item(old, age_s=DAY_S), item(young)])
    assert cache_use.clear(config(folder).cache, "*", 3_600, really=True) == 1
    with opened(folder) as store:
        assert store.get(key_of(young)) is not None


def test_prune_removes_expired_entries_and_then_evicts_down_to_the_limit(folder: Path) -> None:
    with opened(folder) as store:
        store.add([item(one, age_s=2 * DAY_S) for one in questions(5)])
        store.add([bulky(number) for number in range(60)])
    settings = config(folder, cache_ttl="1d", cache_max_size="500kB")
    expired, evicted = cache_use.prune(settings.cache)
    assert expired == 5
    assert 0 < evicted < 60
    found = cache_use.stats(settings.cache)
    assert found.entries == 60 - evicted
    assert found.size_bytes <= 500_000
    assert cache_use.prune(settings.cache) == (0, 0)


def test_prune_removes_nothing_within_the_limits(folder: Path) -> None:
    fill(folder, questions(5), age_s=900 * DAY_S)
    assert cache_use.prune(config(folder).cache) == (0, 0)
    assert cache_use.stats(config(folder).cache).entries == 5


# --- export and import


def test_entries_move_to_another_folder_whole(folder: Path, tmp_path: Path) -> None:
    asked = [*questions(1100), request("x", model="sim/m", temperature=0.5)]
    fill(folder, asked, age_s=60)
    path = str(tmp_path / "moved.jsonl")
    there = config(tmp_path / "there")
    assert cache_use.export(config(folder).cache, path, "*") == 1101
    assert cache_use.import_(there.cache, path) == 1101
    with opened(folder) as one, opened(tmp_path / "there") as other:
        assert list(one.items()) == list(other.items())
        assert other.contents().models.keys() == {"openai/m", "sim/m"}
    assert cache_use.stats(there.cache).ages["1h"] == 1101
    assert min(age_s for age_s in _ages_s(tmp_path / "there")) >= 60  # its age moved along


def _ages_s(folder: Path) -> list[float]:
    with opened(folder) as store:
        return store.contents().ages_s


def test_an_export_has_only_the_models_of_the_pattern(folder: Path, tmp_path: Path) -> None:
    fill(folder, [request(model=model) for model in ("openai/a", "openai/b", "sim/a")])
    path = tmp_path / "moved.jsonl"
    assert cache_use.export(config(folder).cache, str(path), "openai/*") == 2
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted(line["model"] for line in lines) == ["openai/a", "openai/b"]
    assert lines[0].keys() == {"key", "model", "entry"}


@pytest.mark.parametrize("umask", [0o000, 0o022])
@pytest.mark.parametrize("was_there", [False, True])
def test_nobody_else_can_read_an_export(
    folder: Path, tmp_path: Path, umask: int, was_there: bool
) -> None:
    fill(folder, questions(1))
    if was_there:
        (tmp_path / "moved.jsonl").touch(0o666)
    before = os.umask(umask)
    try:
        cache_use.export(config(folder).cache, str(tmp_path / "moved.jsonl"), "*")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "moved.jsonl").stat().st_mode) == 0o600


def test_an_export_leaves_out_what_is_damaged_or_planted(folder: Path, tmp_path: Path) -> None:
    planted, damaged, intact = asked = questions(3)
    fill(folder, asked)
    touched = tmp_path / "touched"
    statement = "UPDATE Cache SET mode = 4, value = ? WHERE key = ?"
    sql(folder, statement, pickle_that_touches(touched), key_of(planted))
    sql(folder, "UPDATE Cache SET value = zeroblob(99) WHERE key = ?", key_of(damaged))
    insert = "INSERT INTO Cache (key, raw, mode, value, store_time) VALUES (?, ?, 4, x'00', 0)"
    sql(folder, insert, pickle_that_touches(touched), 0)
    sql(folder, insert, pickle_that_touches(touched), 1)
    sql(folder, insert, 5, 1)
    path = tmp_path / "moved.jsonl"
    assert cache_use.export(config(folder).cache, str(path), "*") == 1
    assert orjson.loads(path.read_bytes())["key"] == key_of(intact)
    assert explained(folder, '{"prompt": "no such"}').misses == 1
    assert not touched.exists()


def test_an_expired_entry_is_not_revived_by_an_import(folder: Path, tmp_path: Path) -> None:
    old, young = questions(2)
    with opened(folder) as store:
        store.add([item(old, age_s=2 * DAY_S), item(young)])
    path = str(tmp_path / "moved.jsonl")
    cache_use.export(config(folder).cache, path, "*")
    there = config(tmp_path / "there", cache_ttl="1d")
    cache_use.import_(there.cache, path)
    assert cache_use.stats(there.cache).entries == 1


def exported_line(**changed: Any) -> bytes:
    one = item(request())
    line = {"key": one.key, "model": one.model, "entry": msgspec.to_builtins(one.entry)} | changed
    return orjson.dumps(line) + b"\n"


def test_an_exported_line_is_imported(folder: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "moved.jsonl", exported_line())
    assert cache_use.import_(config(folder).cache, path) == 1
    with opened(folder) as store:
        found = store.get(key_of(request()))
    assert found is not None
    assert found.reply == answer_to(request())
    assert found.created <= time.time()


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON\n",
        b"null\n",
        b"{}\n",
        b'{"prompt": "hello"}\n',
        b"\x80\x04\x95pickle\n",
        b'{"key": "\xff"}\n',
        pytest.param(b'{"x":' + b"[" * 100_000 + b"\n", id="deep"),
        pytest.param(exported_line(key="../../outside"), id="a path as a key"),
        pytest.param(exported_line(key="ab" * 31), id="a short key"),
        pytest.param(exported_line(key=5), id="a number as a key"),
        pytest.param(exported_line(model=None), id="no model"),
        pytest.param(exported_line(entry={"reply": {}}), id="no reply"),
    ],
)
def test_an_invalid_line_is_refused_with_its_number(
    folder: Path, tmp_path: Path, line: bytes
) -> None:
    path = write_lines(tmp_path / "moved.jsonl", exported_line(), line)
    with pytest.raises(ConfigError, match=r"moved\.jsonl line 2 is not an exported entry"):
        cache_use.import_(config(folder).cache, path)


# --- a cache that is unusable


def test_an_unusable_cache_is_an_error_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    settings = config(tmp_path / "cache")
    for use in (cache_use.stats, cache_use.prune):
        with pytest.raises(StorageError, match=f"can't use the cache in {tmp_path}/cache: "):
            use(settings.cache)


USES: dict[str, Callable[[Config], object]] = {
    "stats": lambda settings: cache_use.stats(settings.cache),
    "explain": lambda settings: cache_use.explain(settings, '{"prompt": "hello"}'),
    "export": lambda settings: cache_use.export(settings.cache, os.devnull, "*"),
    "clear": lambda settings: cache_use.clear(settings.cache, "*", None, really=True),
    "prune": lambda settings: cache_use.prune(settings.cache),
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("use", USES)
def test_a_damaged_file_works_or_is_a_storage_error(folder: Path, use: str, seed: int) -> None:
    fill(folder, questions(200))
    flip_bytes(folder, 200, seed, first_byte=100)
    with contextlib.suppress(StorageError):
        USES[use](config(folder))


def test_a_damaged_file_is_named_in_the_error(folder: Path) -> None:
    fill(folder, questions(200))
    (folder / "cache.db").write_bytes(b"x" * 8192)
    for use in USES.values():
        with pytest.raises(StorageError, match=f"can't use the cache in {folder}: file is not"):
            use(config(folder))


def test_a_failed_write_of_an_export_is_not_blamed_on_the_cache(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="nowhere") as caught:
        cache_use.export(config(folder).cache, str(tmp_path / "nowhere" / "moved.jsonl"), "*")
    assert "the cache in" not in str(caught.value)


def test_the_store_is_closed_after_every_use(folder: Path) -> None:
    """The last connection that closes takes the log of SQLite with it."""
    for use in USES.values():
        fill(folder, questions(3))
        use(config(folder))
        assert [path.name for path in folder.iterdir()] == ["cache.db"]
