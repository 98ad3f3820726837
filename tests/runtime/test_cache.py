"""The cache of a run: where it lies, that it opens or is done without, what is noted of its use."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from llmscale.accounting.stats import Stats
from llmscale.config import Config
from llmscale.core.protocols import CacheBackend
from llmscale.core.records import Outcome, Reply, Row
from llmscale.engine.cache import history
from llmscale.engine.cache.history import Use
from llmscale.engine.cache.keys import key_of
from llmscale.runtime import cache as caching
from llmscale.runtime.cache import folder_of, note_use, open_backend, open_store
from tests.engine.cache import DAY_S, answer_to, entry_of, fill, item, questions, request
from tests.settings import config_of

STARTED = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def config(folder: Path, **settings: Any) -> Config:
    return config_of(cache_dir=str(folder), **settings)


@asynccontextmanager
async def replies_of(settings: Config) -> AsyncIterator[CacheBackend]:
    """Open the cache of a run; fail where it has none."""
    replies = open_backend(settings.cache)
    assert replies is not None
    try:
        yield replies
    finally:
        async with asyncio.timeout(10):
            await replies.aclose()


# --- where it is


def test_the_folder_is_the_one_that_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert folder_of(config_of(cache_dir="here").cache) == Path("here")
    assert folder_of(config_of(cache_dir="~/there").cache) == tmp_path / "there"


def test_the_folder_is_the_users_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder_of(Config().cache) == tmp_path / "xdg" / "llmscale"
    for unusable in ("", "relative/path"):  # to be ignored, says the specification
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert folder_of(Config().cache) == tmp_path / ".cache" / "llmscale"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert folder_of(Config().cache) == tmp_path / ".cache" / "llmscale"


# --- how it is opened


def test_a_run_without_a_cache_touches_nothing(tmp_path: Path) -> None:
    assert open_backend(config(tmp_path / "cache", cache_mode="off").cache) is None
    assert not (tmp_path / "cache").exists()


async def test_time_and_size_reach_the_store(tmp_path: Path) -> None:
    old, young = questions(2)
    settings = config(tmp_path / "cache", cache_ttl="1d", cache_max_size="3MB")
    with closing(open_store(settings.cache)) as store:
        store.add([item(old, age_s=DAY_S + 60), item(young, age_s=DAY_S - 60)])
        assert store.get(key_of(old)) is None
        assert store.get(key_of(young)) is not None
        assert store._cache.size_limit == 3_000_000
    with closing(open_store(config(tmp_path / "other").cache)) as store:
        assert store._cache.size_limit == 10**10
        store.add([item(old, age_s=1000 * DAY_S)])
        assert store.get(key_of(old)) is not None


@pytest.mark.parametrize("mode", ["on", "read", "refresh"])
async def test_a_new_answer_replaces_the_old_one(tmp_path: Path, mode: Any) -> None:
    fill(tmp_path / "cache", [request()])
    await put_another_answer(config(tmp_path / "cache", cache_mode=mode))
    with closing(open_store(config(tmp_path / "cache").cache)) as store:
        found = store.get(key_of(request()))
    assert found is not None
    assert found.reply == answer_to(request("another"))


async def test_writing_only_what_is_missing_keeps_the_old_answer(tmp_path: Path) -> None:
    fill(tmp_path / "cache", [request()])
    await put_another_answer(config(tmp_path / "cache", cache_mode="write"))
    with closing(open_store(config(tmp_path / "cache").cache)) as store:
        found = store.get(key_of(request()))
    assert found is not None
    assert found.reply == answer_to(request())


async def put_another_answer(settings: Config) -> None:
    async with replies_of(settings) as replies:
        replies.put(key_of(request()), entry_of(request("another")), "openai/m")


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("file", id="a file in its place"),
        pytest.param("file/cache", id="below a file"),
        pytest.param("a" * 300, id="a name that is too long"),
        pytest.param("nul\0", id="a name that is none"),
    ],
)
def test_a_cache_that_can_not_be_opened_is_said_and_done_without(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    assert open_backend(config(tmp_path / place).cache) is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "continuing without a cache" in record.message
    assert (tmp_path / "file").read_text() == "x"


def test_a_cache_that_another_process_holds_is_said_in_words_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(caching, "Store", locked)
    assert open_backend(config(tmp_path).cache) is None
    assert "another process holds it" in caplog.text
    assert "database is locked" not in caplog.text


# --- what is noted


def stats_of(*replies: Reply, model: str = "sim/m", lookups: int = 0, hits: int = 0) -> Stats:
    """Return the numbers of a run with rows of one model."""
    stats = Stats()
    for index, one in enumerate(replies):
        row = Row(index=index, request=request(model=model))
        stats.add_outcome(Outcome(row=row, reply=one, attempts=one.attempts))
    for number in range(lookups):
        stats.add_lookup(model, hit=number < hits)
    return stats


async def test_a_run_is_noted_with_its_uses_by_model_and_what_the_store_went_through(
    tmp_path: Path,
) -> None:
    paid = answer_to(request())
    hit = replace(paid, cached=True, cost_usd=0.5)
    shared = replace(paid, deduped=True, cost_usd=0.25)
    settings = config(tmp_path / "cache")
    stats = stats_of(paid, hit, hit, shared, lookups=3, hits=2)
    stats.merge(stats_of(paid, model="sim/other", lookups=1))
    async with replies_of(settings) as replies:
        replies.put(*item(request()))
    note_use(settings.cache, replies, stats, STARTED, "out.jsonl")
    (run,) = history.runs(tmp_path / "cache")
    assert (run.started, run.output) == ("2026-01-02T03:04:05+00:00", "out.jsonl")
    assert run.models == {
        "sim/m": Use(hits=2, misses=1, deduped=1, saved_tokens=3 * 12, saved_usd=1.25),
        "sim/other": Use(misses=1),
    }
    assert (run.stored, run.dropped, run.evicted, run.refused, run.errors) == (1, 0, 0, 0, 0)


async def test_shared_calls_are_noted_in_modes_that_look_nothing_up(tmp_path: Path) -> None:
    shared = replace(answer_to(request()), deduped=True)
    settings = config(tmp_path / "cache", cache_mode="refresh")
    async with replies_of(settings) as replies:
        pass
    note_use(settings.cache, replies, stats_of(shared), STARTED, "out.jsonl")
    (run,) = history.runs(tmp_path / "cache")
    assert run.models == {"sim/m": Use(deduped=1, saved_tokens=12)}


async def test_a_history_that_can_not_be_written_is_said_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(tmp_path / "cache")
    async with replies_of(settings) as replies:
        pass
    (tmp_path / "cache" / history.FILE).mkdir()
    note_use(settings.cache, replies, Stats(), STARTED, "out.jsonl")
    assert "can't write the history" in caplog.text
