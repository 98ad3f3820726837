"""An unusable cache is one error with its folder, and the store is always closed."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmscale.commands import cache as cache_use
from llmscale.config import Config
from llmscale.core.errors import StorageError
from tests.commands.cache import config
from tests.engine.cache import (
    fill,
    flip_bytes,
    questions,
)


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
    for name, use in USES.items():
        if name == "clear":  # which removes it
            continue
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
