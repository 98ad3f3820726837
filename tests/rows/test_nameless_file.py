"""A file without a name is read as often as one likes, without the help of /dev/fd."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from llmscale.rows.sources import BLOCK_BYTES, Line, Source, blocks_of_lines, digest

CONTENT = b"a\nbb\n"


@pytest.fixture
def nameless(tmp_path: Path) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        file.write(CONTENT)
        file.flush()
        yield file


def test_each_reader_begins_at_the_start_and_moves_nobody_elses_position(
    nameless: IO[bytes],
) -> None:
    source = Source.of_descriptor(nameless.fileno(), "stdin")
    lines = [Line("stdin", 1, b"a"), Line("stdin", 2, b"bb")]
    digests: dict[str, str] = {}
    for _ in range(2):
        assert list(blocks_of_lines([source], digests=digests)) == [lines]
        assert digests.popitem() == (source.path, digest(source)) == (source.path, sha256(CONTENT))
    assert nameless.tell() == len(CONTENT)


def test_a_large_file_without_a_name_is_read_whole(nameless: IO[bytes]) -> None:
    nameless.write(b"x" * 3 * BLOCK_BYTES)
    nameless.flush()
    whole = CONTENT + b"x" * 3 * BLOCK_BYTES
    source = Source.of_descriptor(nameless.fileno(), "stdin")
    assert [line.raw for block in blocks_of_lines([source]) for line in block] == whole.split(b"\n")
    assert digest(source) == sha256(whole)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
