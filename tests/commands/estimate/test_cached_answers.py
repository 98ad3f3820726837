"""Look-ups before a run find what it would find, and leave no trace."""

import logging
from pathlib import Path

import pytest

from llmscale.commands.estimate.cached_answers import cached_answers
from llmscale.engine.cache.keys import key_of
from tests.engine.cache import fill, flip_bytes, questions, sql
from tests.settings import config_of

ASKED = questions(3)


def found(folder: Path, mode: str = "on") -> set[str]:
    config = config_of(cache_dir=str(folder), cache_mode=mode)
    with cached_answers(config.cache) as lookup:
        return set(lookup([key_of(asked) for asked in ASKED]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "cache", ASKED[:2])
    return tmp_path / "cache"


@pytest.mark.parametrize("mode", ["on", "read"])
def test_cached_answers_are_found_in_modes_that_read_the_cache(folder: Path, mode: str) -> None:
    assert found(folder, mode) == {key_of(asked) for asked in ASKED[:2]}


@pytest.mark.parametrize("mode", ["off", "write", "refresh"])
def test_nothing_is_found_in_modes_that_do_not_read_the_cache(folder: Path, mode: str) -> None:
    assert found(folder, mode) == set()


def test_a_lookup_is_no_use_of_the_cache(folder: Path) -> None:
    query = "SELECT key, access_time, access_count FROM Cache ORDER BY key"
    before = sql(folder, query)
    found(folder)
    assert sql(folder, query) == before


def test_a_missing_cache_is_not_created(tmp_path: Path) -> None:
    assert found(tmp_path / "none") == set()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cache_misses_with_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip_bytes(folder, 4_096, seed=1)
    config = config_of(cache_dir=str(folder))
    with caplog.at_level(logging.WARNING), cached_answers(config.cache) as lookup:
        assert dict(lookup([key_of(ASKED[0])])) == {}
        assert dict(lookup([key_of(ASKED[0])])) == {}
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "further rows count as not cached" in caplog.text
