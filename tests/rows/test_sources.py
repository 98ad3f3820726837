"""Which files an input stands for, and that their lines come whole, numbered and one by one."""

import glob
import gzip
import hashlib
import os
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmscale.core.errors import ConfigError, StorageError
from llmscale.rows import sources
from llmscale.rows.sources import MAX_LINE_BYTES, Line, Source, blocks_of_lines, digest, expand
from tests.platforms import needs_raw_names

BOM = b"\xef\xbb\xbf"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def lines_of(*paths: Path) -> list[Line]:
    found = blocks_of_lines([Source(str(path), path.name) for path in paths])
    return [line for block in found for line in block]


def raws_of(*paths: Path) -> list[bytes | None]:
    return [line.raw for line in lines_of(*paths)]


def in_no_order(names: list[str]) -> list[str]:
    """Return names as a file system may list them."""
    ordered = sorted(names)
    return [*ordered[1:], *ordered[:1]]


@pytest.mark.parametrize(
    ("inputs", "paths"),
    [
        (["b.jsonl", "a.jsonl"], ["b.jsonl", "a.jsonl"]),
        (["*.jsonl"], ["[x].jsonl", "a.jsonl", "b.jsonl"]),
        (["b.jsonl", "*.jsonl", "b.jsonl"], ["b.jsonl", "[x].jsonl", "a.jsonl"]),
        (["[ab].jsonl"], ["a.jsonl", "b.jsonl"]),
        (["[x].jsonl"], ["[x].jsonl"]),
        (["-", "-"], ["-"]),
    ],
)
def test_inputs_stand_for_files_in_order_globs_sorted_and_each_file_once(
    inputs: list[str],
    paths: list[str],
    folder: Path,
    stdin: IO[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    touch(folder, "b.jsonl", "a.jsonl", "[x].jsonl", "c.txt")
    found = glob.glob
    monkeypatch.setattr(glob, "glob", lambda name: in_no_order(found(name)))
    assert [source.path for source in expand(inputs)] == paths


def test_a_file_that_is_there_is_no_glob(folder: Path) -> None:
    touch(folder, "[a].jsonl", "a.jsonl", "b*.jsonl", "bb.jsonl")
    assert [source.path for source in expand(["[a].jsonl", "b*.jsonl"])] == [
        "[a].jsonl",
        "b*.jsonl",
    ]


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        (["a.jsonl", "none.jsonl"], r"there is no input none\.jsonl"),
        (["*.csv"], r"there is no input \*\.csv"),
        (["a prompt in the place of a file " * 200], "there is no input a prompt"),
        (["inner"], r"inner is a folder; name its files: 'inner/\*\.jsonl'"),
        (["i*"], "inner is a folder"),
        (["-", "a.jsonl"], r"standard input \(-\) can't be mixed with files"),
    ],
)
def test_an_input_that_is_none_is_refused_by_name(
    inputs: list[str], complaint: str, folder: Path
) -> None:
    touch(folder, "a.jsonl")
    (folder / "inner").mkdir()
    with pytest.raises(ConfigError, match=complaint):
        expand(inputs)


@needs_raw_names
@pytest.mark.parametrize("name", ["\udcff.jsonl", "?.jsonl"])
def test_an_input_whose_name_is_not_utf_8_is_refused(name: str, folder: Path) -> None:
    touch(folder, "\udcff.jsonl")
    with pytest.raises(ConfigError, match=r"'\\udcff\.jsonl' is not UTF-8; rename it"):
        expand([name])


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(ConfigError, match="standard input is a terminal"):
            expand(["-"])
    os.close(ours)


def test_a_digest_is_of_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x\r\n")
    assert digest(Source(str(path), "a")) == hashlib.sha256(b"x\r\n").hexdigest()
    with pytest.raises(StorageError, match=r"can't read gone: No such file"):
        digest(Source(str(tmp_path / "none"), "gone"))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", []),
        (BOM, []),
        (b"a", [(1, b"a")]),
        (b"a\nb", [(1, b"a"), (2, b"b")]),
        (b"a\nb\n", [(1, b"a"), (2, b"b")]),
        (BOM + b"a\n" + BOM + b"b\n", [(1, b"a"), (2, BOM + b"b")]),
        (b"a\r\nb\r\n", [(1, b"a\r"), (2, b"b\r")]),
        (b"\n \t\r\na\n\n\nb\n\r\n", [(3, b"a"), (6, b"b")]),
        (
            "a\u2028b\u2029c\x85d\x0be\x0cf\n".encode(),
            [(1, "a\u2028b\u2029c\x85d\x0be\x0cf".encode())],
        ),
        (b"a\rb\n", [(1, b"a\rb")]),
        (b"a\x00b\n\xff\n", [(1, b"a\x00b"), (2, b"\xff")]),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_only_a_newline_ends_a_line_and_blank_ones_are_counted_but_left_out(
    content: bytes, lines: list[tuple[int, bytes]], ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"in.{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    assert lines_of(path) == [Line(path.name, number, raw) for number, raw in lines]


def test_each_file_numbers_its_own_lines_and_ends_its_own_last_one(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(b"a\nb")
    second.write_bytes(BOM + b"c\n")
    assert lines_of(first, second) == [
        Line("1", 1, b"a"),
        Line("1", 2, b"b"),
        Line("2", 1, b"c"),
    ]


def split(content: bytes, most: int) -> list[tuple[int, bytes | None]]:
    """What the lines are, told in another way."""
    lines: list[tuple[int, bytes | None]] = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        if len(raw) > most:
            lines.append((number, None))
            continue
        kept = raw.removeprefix(BOM) if number == 1 else raw
        if kept.strip():
            lines.append((number, kept))
    return lines


@given(
    content=st.binary(max_size=60) | st.text("ab\n\r \ufeff", max_size=60).map(str.encode),
    block=st.integers(1, 70),
    most=st.integers(1, 20),
)
@example(content=b"\xef\xbb\xbf\n", block=4, most=1)
@example(content=b"  \n\n a", block=2, most=1)
def test_lines_are_the_same_however_the_file_is_cut_into_blocks(
    content: bytes, block: int, most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK_BYTES", block)
        patch.setattr(sources, "MAX_LINE_BYTES", most)
        found = [(line.number, line.raw) for line in lines_of(path)]
    assert found == split(content, most)


@pytest.mark.parametrize("block", [1, 7, 100, 256 * 1024])
@pytest.mark.parametrize("last", [b"z", b"z\n", b"l" * 500, b"l" * 500 + b"\n"])
def test_a_line_that_is_too_long_is_one_bad_row_and_its_neighbours_are_untouched(
    block: int, last: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 50)
    path = tmp_path / "in.jsonl"
    fits, too_long = b"f" * 50, b"l" * 51
    path.write_bytes(b"\n".join([b"a", too_long, fits, b"l" * 999, b"b", last]))
    end = b"z" if last.startswith(b"z") else None
    assert raws_of(path) == [b"a", None, fits, None, b"b", end]


def test_a_block_is_all_of_a_file_that_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 100)
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"123456789\n" * 1000)
    blocks = list(blocks_of_lines([Source(str(path), "in")]))
    assert sum(map(len, blocks)) == 1000
    assert max(map(len, blocks)) <= 11
    assert MAX_LINE_BYTES > sources.BLOCK_BYTES


def test_of_a_line_that_is_too_long_no_more_than_the_limit_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 1024**2)
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        file.truncate(32 * 1024**2)  # zeros that take no place
    tracemalloc.start()
    try:
        assert raws_of(path) == [None]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 * 1024**2


def damaged_gzip(kind: str) -> bytes:
    whole = bytearray(gzip.compress(b"".join(b'{"prompt": "%d"}\n' % i for i in range(2000))))
    if kind == "cut":
        return bytes(whole[:-100])
    if kind == "garbled":
        whole[300:400] = b"\xff" * 100
    else:
        whole[-8] ^= 1  # the checksum
    return bytes(whole)


@pytest.mark.parametrize("kind", ["cut", "garbled", "checksum"])
def test_a_damaged_gzip_file_is_a_sentence_that_names_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(damaged_gzip(kind))
    with pytest.raises(StorageError, match=r"can't read in\.jsonl\.gz: \S"):
        raws_of(path)


def test_a_plain_file_that_is_called_gzipped_is_to_be_renamed(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(b'{"prompt": "plain text"}\n')
    with pytest.raises(ConfigError, match=r"in\.jsonl\.gz is not gzipped, .*; rename it$"):
        raws_of(path)


def test_a_file_that_has_gone_is_a_sentence_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"can't read gone\.jsonl: No such file"):
        raws_of(tmp_path / "gone.jsonl")


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[IO[bytes]]:
    """Make standard input a pipe, and return its other end."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe, os.fdopen(writing, "wb", buffering=0) as other_end:
        monkeypatch.setattr(sys, "stdin", pipe)
        yield other_end


STDIN = [Source("-", "stdin")]


def test_a_line_of_standard_input_comes_before_the_next_is_written(stdin: IO[bytes]) -> None:
    blocks = blocks_of_lines(STDIN)
    stdin.write(b"a\nb")
    assert next(blocks) == [Line("stdin", 1, b"a")]
    stdin.write(b"b\n")
    assert next(blocks) == [Line("stdin", 2, b"bb")]
    stdin.close()
    assert list(blocks) == []


def test_standard_input_may_end_without_a_newline(stdin: IO[bytes]) -> None:
    stdin.write(b"a\nb")
    stdin.close()
    assert [line.raw for block in blocks_of_lines(STDIN) for line in block] == [b"a", b"b"]


def test_a_wait_for_standard_input_ends_when_it_is_stopped(stdin: IO[bytes]) -> None:
    stopped = threading.Event()
    stdin.write(b"a\n")
    blocks = blocks_of_lines(STDIN, stopped)
    assert next(blocks)
    stopped.set()
    assert list(blocks) == []
