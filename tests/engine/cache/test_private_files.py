"""Whose folder the cache is in: the user's own, or it is not used."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmscale.engine.cache.private_files import make_private

NAME = "cache.db"


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".cache" / "llmscale"


def modes(folder: Path, top: Path) -> list[int]:
    """Return the modes of the file, of its folder and of those above it."""
    above = [path for path in folder.parents if path.is_relative_to(top) and path != top]
    return [stat.S_IMODE(path.stat().st_mode) for path in (folder / NAME, folder, *above)]


def test_what_is_missing_is_made_for_the_owner_alone(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        make_private(folder, NAME)
        assert modes(folder, tmp_path) == [0o600, 0o700, 0o700, 0o700]


def test_a_folder_that_was_there_keeps_its_mode_and_a_file_does_not(
    folder: Path, tmp_path: Path
) -> None:
    folder.mkdir(parents=True)
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)
    (folder / NAME).touch(0o644)
    make_private(folder, NAME)
    assert modes(folder, tmp_path) == [0o600, 0o755, 0o755, 0o755]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_folder_where_everybody_may_write_is_refused(folder: Path, mode: int) -> None:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(PermissionError, match="everybody may write in the folder; chmod o-w"):
        make_private(folder, NAME)
    assert list(folder.iterdir()) == []


def test_what_belongs_to_somebody_else_is_refused_but_to_root(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_private(folder, NAME)
    if os.geteuid() == 0:
        os.chown(folder, 4321, -1)  # the files of root are nobody's to plant
    stranger = folder.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    with pytest.raises(PermissionError, match="the folder belongs to somebody else"):
        make_private(folder, NAME)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    make_private(folder, NAME)


def test_a_link_in_the_place_of_the_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    target = tmp_path / "target"
    (folder / NAME).symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        make_private(folder, NAME)
    assert not target.exists()


def test_a_link_to_a_folder_is_followed_for_the_user_has_set_it(
    folder: Path, tmp_path: Path
) -> None:
    folder.mkdir(mode=0o700, parents=True)
    link = tmp_path / "link"
    link.symlink_to(folder)
    make_private(link, NAME)
    assert (folder / NAME).is_file()
