"""A file is there whole or not at all, lasts once it is there, and is nobody else's to read."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from llmscale.core.atomic_file import publish, replace_file, stage, storage_error
from llmscale.core.errors import StorageError
from tests.job import Run, content_of, full


def test_a_replaced_file_has_the_new_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"first, and longer", b"second"):
        replace_file(path, content)
        assert content_of(tmp_path) == {"a": content}


def test_a_staged_file_is_not_there_before_it_is_published(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    staged = stage(path, lambda file: file.write(b"new"))
    assert (path.read_bytes(), staged.read_bytes()) == (b"old", b"new")
    publish(staged, path)
    assert content_of(tmp_path) == {"a": b"new"}


@pytest.mark.parametrize("broken", ["write", "fsync"])
def test_a_full_disk_leaves_the_old_file_and_no_half_of_a_new_one(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write(file: IO[bytes]) -> None:
        file.write(b"new")
        if broken == "write":
            full()

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        stage(path, write)
    assert content_of(tmp_path) == {"a": b"old"}


def test_a_rename_that_fails_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="No space left on device"):
        replace_file(tmp_path / "a", b"new")


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"can't write .*none/a: No such file"):
        replace_file(tmp_path / "none" / "a", b"")


@pytest.mark.parametrize("name", ["a", "a.tmp"])
def test_a_link_is_replaced_and_not_followed(name: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"somebody's")
    target.chmod(0o644)
    (tmp_path / name).symlink_to(target)
    replace_file(tmp_path / "a", b"new")
    assert content_of(tmp_path) == {"a": b"new", "target": b"somebody's"}
    assert not (tmp_path / "a").is_symlink()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_file_that_lies_where_one_is_staged_lends_it_neither_content_nor_mode(
    tmp_path: Path,
) -> None:
    left = tmp_path / "a.tmp"
    left.write_bytes(b"left by a process that died")
    left.chmod(0o666)
    with left.open("rb") as opened:  # by somebody who waits for what will be written
        replace_file(tmp_path / "a", b"new")
        assert opened.read() == b"left by a process that died"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder", "folder beside it"])
def test_what_is_no_regular_file_is_not_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if kind == "folder beside it":
        (tmp_path / "a.tmp").mkdir()
    elif kind == "folder":
        path.mkdir()
    else:
        pipe = tmp_path / "pipe" if kind != "pipe" else path
        os.mkfifo(pipe)
        if pipe != path:
            path.symlink_to(pipe)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=r"can't write .*/a: "):
        replace_file(path, b"new")
    assert sorted(tmp_path.iterdir()) == before


def test_the_sentence_says_what_where_and_what_to_do() -> None:
    error = storage_error(Path("out.jsonl"), OSError(errno.EROFS, "Read-only file system"))
    assert str(error) == (
        "can't write out.jsonl: Read-only file system; what is written is safe, "
        "and the same command resumes"
    )
    assert "odd" in str(storage_error(Path("out.jsonl"), OSError("odd")))


def test_the_content_lasts_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power loss can take is decided by the order of fsync and rename."""
    steps: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append(("fsync", "folder" if is_folder else "file"))
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        steps.append(("rename", target.name))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    replace_file(tmp_path / "a", b"content")
    assert steps == [("fsync", "file"), ("rename", "a"), ("fsync", "folder")]
    steps.clear()
    with Run(tmp_path).up_to_the_end() as job:
        steps.clear()
        job.finish(job.manifest.spend)
    manifest = [("fsync", "file"), ("rename", "out.jsonl.job.json"), ("fsync", "folder")]
    output = [("fsync", "file"), ("rename", "out.jsonl"), ("fsync", "folder")]
    journal = [("fsync", "file")]
    assert steps == [*journal, output[0], *manifest, *output[1:], *manifest]


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_every_file_of_a_job_is_for_its_owner_only(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.up_to_the_end():
        running = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    run.to_the_end()
    finished = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert running == dict.fromkeys(
        ["out.jsonl.lock", "out.jsonl.partial", "out.jsonl.job.json"], 0o600
    )
    assert finished == dict.fromkeys(["out.jsonl", "out.jsonl.job.json"], 0o600)
