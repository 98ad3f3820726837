"""Rows come in input order wherever they lie, by few reads, and never by reading much in vain."""

import os
import random
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmscale.core.choices import OutputFormat
from llmscale.core.output_line import encode, line_of, to_batch
from llmscale.job.input_order import BLOCK_BYTES, Places, in_order
from tests.job import outcome


class Lines:
    """Lines in a journal or in an earlier output, and where each of them lies."""

    def __init__(self, folder: Path) -> None:
        self.journal, self.output = folder / "journal", folder / "output"
        self.journal.touch()
        self.output.touch()
        self._places: dict[int, tuple[int, int]] = {}

    def write(self, index: int, line: bytes, *, earlier: bool = False) -> None:
        """Append a line."""
        path = self.output if earlier else self.journal
        offset = path.stat().st_size
        with path.open("ab") as file:
            file.write(line)
        self._places[index] = (-offset - 1 if earlier else offset + 1, len(line))

    @property
    def places(self) -> Places:
        """All lines by index."""
        offsets, sizes = zip(*(self._places[i] for i in sorted(self._places)), strict=True)
        return Places(array("q", offsets), array("I", sizes))

    def blocks(self) -> list[bytes]:
        """Return what comes in order."""
        return list(self.of(range(len(self._places))))

    def of(self, rows: range, output_format: OutputFormat = "llmscale") -> Iterator[bytes]:
        """Yield what comes of some rows."""
        return in_order(self.journal, self.output, self.places, rows, output_format)


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    return Lines(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the reads, as they come."""
    sizes: list[int] = []
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    return sizes


def line(index: int, size: int) -> bytes:
    return f"{index:06}".encode().ljust(size - 1, b".") + b"\n"


@pytest.mark.parametrize("seed", range(20))
def test_lines_of_any_size_come_in_order_from_wherever_they_lie(seed: int, lines: Lines) -> None:
    rng = random.Random(seed)
    count = rng.choice([1, 7, 400])
    content = [line(i, rng.choice([8, 300, 9_000])) for i in range(count)]
    indexes = list(range(count))
    if seed % 2:
        rng.shuffle(indexes)
    for index in indexes:
        lines.write(index, content[index], earlier=rng.random() < seed / 20)
    assert b"".join(lines.blocks()) == b"".join(content)


def test_of_no_rows_nothing_comes(lines: Lines) -> None:
    lines.write(0, line(0, 100))
    assert list(lines.of(range(0))) == list(lines.of(range(1, 1))) == []


def test_of_some_rows_no_other_comes(lines: Lines) -> None:
    for index in (3, 0, 2, 1):
        lines.write(index, line(index, 100))
    assert list(lines.of(range(1, 3))) == [line(1, 100) + line(2, 100)]


def test_a_block_is_no_larger_than_its_bound_unless_one_line_is(lines: Lines) -> None:
    sizes = [1_000] * 3_000 + [3 * BLOCK_BYTES] + [100_000] * 30
    for index, size in enumerate(sizes):
        lines.write(index, line(index, size))
    blocks = lines.blocks()
    assert [len(block) for block in blocks if len(block) > BLOCK_BYTES] == [3 * BLOCK_BYTES]
    assert len(blocks) < 25


def test_lines_that_lie_near_one_another_are_one_read(lines: Lines, reads: list[int]) -> None:
    order = [i ^ 1 for i in range(1_000)]  # each pair the wrong way round
    for index in order:
        lines.write(index, line(index, 100))
    assert b"".join(lines.blocks()) == b"".join(line(i, 100) for i in range(1_000))
    assert reads == [100_000]


def test_lines_that_lie_far_apart_are_read_by_themselves(lines: Lines, reads: list[int]) -> None:
    for index in [*range(0, 64, 2), 64, *range(1, 64, 2)]:
        lines.write(index, line(index, 5 * BLOCK_BYTES if index == 64 else 100))
    assert b"".join(lines.blocks())[:6_400] == b"".join(line(i, 100) for i in range(64))
    assert sum(reads) == 5 * BLOCK_BYTES + 6_400


def test_what_the_output_has_in_order_is_one_read(lines: Lines, reads: list[int]) -> None:
    for index in range(1_000):
        lines.write(index, line(index, 100), earlier=True)
    lines.blocks()
    assert reads == [100_000]


def test_a_batch_line_is_made_of_a_line_of_the_journal_and_not_of_one_of_the_output(
    lines: Lines,
) -> None:
    ours = [line_of(outcome(index)) for index in range(4)]
    lines.write(2, encode(ours[2], "llmscale"))
    lines.write(0, encode(ours[0], "openai-batch"), earlier=True)
    lines.write(1, encode(ours[1], "llmscale"))
    lines.write(3, encode(ours[3], "openai-batch"), earlier=True)
    assert b"".join(lines.of(range(4), "openai-batch")) == b"".join(
        encode(to_batch(each), "llmscale") for each in ours
    )


def test_a_file_that_has_become_shorter_is_an_error(lines: Lines) -> None:
    lines.write(0, line(0, 100))
    os.truncate(lines.journal, 50)
    with pytest.raises(OSError, match="has become shorter"):
        lines.blocks()


def test_an_output_that_is_gone_is_an_error_and_never_read_elsewhere(lines: Lines) -> None:
    lines.write(0, line(0, 100))
    lines.write(1, line(1, 100), earlier=True)
    lines.output.unlink()
    with pytest.raises(FileNotFoundError):
        lines.blocks()
