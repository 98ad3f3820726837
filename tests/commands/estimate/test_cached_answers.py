"""Look-ups of stored answers: what a run would find, without a trace."""

import logging
from pathlib import Path

import pytest

from llmscale.commands.estimate.cached_answers import stored_answers
from llmscale.engine.cache.keys import key_of
from tests.engine.cache import fill, flip_bytes, questions, sql
from tests.settings import config_of

ASKED = questions(3)


def found(folder: Path, mode: str = "on") -> set[str]:
    config = config_of(cache_dir=str(folder), cache_mode=mode)
    with stored_answers(config.cache) as lookup:
        return set(lookup([key_of(asked) for asked in ASKED]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "cache", ASKED[:2])
    return tmp_path / "cache"


@pytest.mark.parametrize("mode", ["on", "read"])
def test_what_is_stored_is_found_where_a_run_would_look(folder: Path, mode: str) -> None:
    assert found(folder, mode) == {key_of(asked) for asked in ASKED[:2]}


@pytest.mark.parametrize("mode", ["off", "write", "refresh"])
def test_nothing_is_found_where_a_run_would_not_look(folder: Path, mode: str) -> None:
    assert found(folder, mode) == set()


def test_looking_is_no_use(folder: Path) -> None:
    query = "SELECT key, access_time, access_count FROM Cache ORDER BY key"
    before = sql(folder, query)
    found(folder)
    assert sql(folder, query) == before


def test_a_cache_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert found(tmp_path / "none") == set()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cache_misses_and_is_said_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip_bytes(folder, 4_096, seed=1)
    config = config_of(cache_dir=str(folder))
    with caplog.at_level(logging.WARNING), stored_answers(config.cache) as lookup:
        assert dict(lookup([key_of(ASKED[0])])) == {}
        assert dict(lookup([key_of(ASKED[0])])) == {}
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "no further row counts as stored" in caplog.text
