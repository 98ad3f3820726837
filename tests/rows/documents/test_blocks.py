"""From paths to blocks of chunks: complete, in order, and one file in memory at a time."""

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmscale.rows.documents import Block, Chunk, Chunker, FileFailure, Walk, blocks_of_chunks


@pytest.fixture(autouse=True)
def _docs(folder: Path) -> None:
    (folder / "docs").mkdir()


def totals(blocks: Iterator[Block]) -> tuple[list[Chunk], list[FileFailure], int]:
    chunks: list[Chunk] = []
    failures: list[FileFailure] = []
    files = 0
    for block in blocks:
        chunks += block.chunks
        failures += [block.failure] if block.failure else []
        files += block.ends_file and block.failure is None
    return chunks, failures, files


def test_blocks_bring_all_chunks_of_all_files_in_order(folder: Path) -> None:
    for number in range(30):
        text = "\n\n".join(f"File {number}, paragraph {n}." for n in range(number))
        Path(f"docs/{number:02}.md").write_text(text)
    Path("docs/broken.pdf").write_bytes(b"no pdf")
    blocks = list(blocks_of_chunks(Walk(["docs"]), Chunker(chunk_tokens=6), block_chunks=16))
    assert max(len(block.chunks) for block in blocks) == 16
    assert all(len({chunk.source for chunk in block.chunks}) <= 1 for block in blocks)
    chunks, failures, files = totals(iter(blocks))
    assert files == 30
    assert [failure.reason for failure in failures] == ["damaged"]
    assert [chunk.text for chunk in chunks] == [
        f"File {number}, paragraph {n}." for number in range(30) for n in range(number)
    ]


def test_a_file_that_can_not_be_read_has_its_place_in_the_order(folder: Path) -> None:
    Path("docs/a.md").write_text("first")
    Path("docs/b.pdf").write_bytes(b"no pdf")
    Path("docs/c.md").write_text("third")
    blocks = [*blocks_of_chunks(Walk(["docs"]), Chunker())]
    assert [bool(block.failure) for block in blocks] == [False, True, False]


def test_a_file_of_several_blocks_ends_once_and_a_blank_one_too(folder: Path) -> None:
    Path("docs/a.md").write_text("\n\n".join(f"Paragraph {n} of a." for n in range(8)))
    Path("docs/b.md").write_text(" \n")
    blocks = [*blocks_of_chunks(Walk(["docs"]), Chunker(chunk_tokens=6), block_chunks=4)]
    assert [(len(block.chunks), block.ends_file) for block in blocks] == [
        (4, False),
        (4, True),
        (0, True),
    ]


def test_a_file_that_is_found_to_be_binary_late_is_skipped_and_counted(folder: Path) -> None:
    Path("docs/a.txt").write_bytes(b"x" * 9000 + b"\xff")
    walk = Walk(["docs"])
    assert totals(blocks_of_chunks(walk, Chunker())) == ([], [], 0)
    assert walk.skipped == {"binary": 1}
    walk = Walk(["docs/a.txt"])
    _, [failure], _ = totals(blocks_of_chunks(walk, Chunker()))
    assert failure.reason == "not_text", "a person who names a file is told"
    assert walk.skipped == {}


def test_memory_does_not_grow_with_the_number_of_files(folder: Path) -> None:
    for number in range(20):
        Path(f"docs/{number}.txt").write_text(f"{number} words of text. " * 10_000)
    walk, chunker = Walk(["docs"]), Chunker(chunk_tokens=2_000)
    next(blocks_of_chunks(walk, chunker))  # imports
    tracemalloc.start()
    try:
        for _ in blocks_of_chunks(walk, chunker):
            pass
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_500_000, f"{peak_bytes:,} of 4,500,000"


def test_the_package_is_imported_without_what_few_files_need(folder: Path) -> None:
    code = "import llmscale.rows.documents, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"semantic_text_splitter", "pypdf", "docx", "lxml"} & set(run.stdout.split())
