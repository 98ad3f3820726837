"""Entries are removed by model and age, or down to a size."""

from pathlib import Path

from llmscale.commands import cache as cache_use
from llmscale.engine.cache.keys import key_of
from tests.commands.cache import config
from tests.engine.cache import (
    DAY_S,
    bulky,
    fill,
    item,
    opened,
    questions,
    request,
)


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
