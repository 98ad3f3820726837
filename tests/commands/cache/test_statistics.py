"""The contents of the cache, and its use by all runs."""

from pathlib import Path
from typing import Any

from llmscale.commands import cache as cache_use
from llmscale.commands.cache.statistics import LifetimeUse
from llmscale.engine.cache import history
from llmscale.engine.cache.history import RunUse, Use
from tests.commands.cache import config
from tests.engine.cache import (
    DAY_S,
    fill,
    item,
    opened,
    questions,
    request,
)


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
