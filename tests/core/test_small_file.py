"""A file that a person names is read whole, or refused at once."""

import os
from pathlib import Path

import pytest

from llmscale.core.small_file import read_small


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert read_small(tmp_path / "a") == b"x" * 100_000


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(ValueError, match="more than"):
        read_small(tmp_path / "a", 10)


def test_a_device_is_refused() -> None:
    with pytest.raises(ValueError, match="device"):
        read_small("/dev/zero")


def test_a_pipe_without_a_writer_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_small(tmp_path / "pipe") == b""


def test_a_pipe_with_a_writer_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    os.close(writing)
    try:
        assert read_small(f"/dev/fd/{reading}") == b"hello"
    finally:
        os.close(reading)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="folder"):
        read_small(tmp_path)
