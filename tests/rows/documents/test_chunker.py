"""Chunks are slices of their text, within their size, and told apart by what they are and where."""

import hashlib
import os
import random
import re
import subprocess
import sys
import time
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmscale.accounting.tokens import estimated_tokens
from llmscale.core.errors import ConfigError
from llmscale.rows.documents import Chunk, Chunker, Document, TextKind
from llmscale.rows.documents import chunker as module

KINDS = st.sampled_from(get_args(TextKind))
SPACES = [
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\t",
    "  ",
    "\u3000",
    "\xa0",
    "\x1c",
    "\x85",
    "\u2028",
    "\ufeff",
]
LONG = ["x" * 60, " " * 600, "\n" * 600]
MARKUP = ["# Head", "- item", "```py\n", "|a|b|\n|-|-|\n", "<b>", "1. ", "> ", "\n    indented\n"]
WORDS = ["word ", "Sentence one. Two!", "def f():\n    return 1\n", "é", "👩‍👩‍👧", "e\u0301", "\0"]
PIECES = st.sampled_from([*SPACES, *LONG, *MARKUP, *WORDS])
TEXTS = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=120).map("".join))


def chunks_of(text: str, kind: TextKind = "plain", **options: int | None) -> list[Chunk]:
    return list(Chunker(**options).chunks(Document("a", text, kind)))  # type: ignore[arg-type]


@given(TEXTS, KINDS, st.integers(1, 40), st.integers(0, 39))
@example("\n0000000\n0000", "markdown", 3, 2)
@example("    \n000 ", "markdown", 2, 1)
@example(" \n000\n000", "code", 2, 1)
@example("000000.  ", "markdown", 2, 1)
@example("000000000000. ", "code", 2, 1)
def test_a_chunk_is_the_slice_of_its_offsets(
    text: str, kind: TextKind, chunk_tokens: int, overlap_tokens: int
) -> None:
    overlap_tokens = min(overlap_tokens, chunk_tokens - 1)
    chunks = chunks_of(text, kind, chunk_tokens=chunk_tokens, overlap_tokens=overlap_tokens)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
        assert chunk.text == chunk.text.rstrip()
    for one, other in pairwise(chunks):
        assert one.start < other.start, "in order, none twice at one place"
        assert one.end < other.end, "and none within the one before"
    assert len({chunk.id for chunk in chunks}) == len(chunks)


@given(TEXTS, KINDS, st.integers(1, 40), st.integers(0, 39))
def test_all_but_white_space_is_in_a_chunk(
    text: str, kind: TextKind, chunk_tokens: int, overlap_tokens: int
) -> None:
    overlap_tokens = min(overlap_tokens, chunk_tokens - 1)
    left = list(text)
    for chunk in chunks_of(text, kind, chunk_tokens=chunk_tokens, overlap_tokens=overlap_tokens):
        left[chunk.start : chunk.end] = " " * len(chunk.text)
    assert not "".join(left).strip()


@given(TEXTS, KINDS, st.integers(1, 40), st.sampled_from([0, 1, 2, 39]))
def test_a_chunk_repeats_no_more_of_the_one_before_than_the_overlap(
    text: str, kind: TextKind, chunk_tokens: int, overlap_tokens: int
) -> None:
    overlap_tokens = min(overlap_tokens, chunk_tokens - 1)
    chunks = chunks_of(text, kind, chunk_tokens=chunk_tokens, overlap_tokens=overlap_tokens)
    for one, other in pairwise(chunks):
        assert estimated_tokens(text[other.start : one.end]) <= overlap_tokens


@given(TEXTS, KINDS, st.integers(1, 40), st.integers(0, 20))
def test_a_chunk_holds_no_more_than_its_tokens(
    text: str, kind: TextKind, chunk_tokens: int, overlap_tokens: int
) -> None:
    overlap_tokens = min(overlap_tokens, chunk_tokens - 1)
    for chunk in chunks_of(text, kind, chunk_tokens=chunk_tokens, overlap_tokens=overlap_tokens):
        assert estimated_tokens(chunk.text) <= chunk_tokens


@given(TEXTS, KINDS, st.integers(1, 10), st.integers(1, 6), st.integers(8, 60))
def test_wherever_a_window_ends_nothing_is_lost_and_no_chunk_is_within_another(
    text: str, kind: TextKind, chunk_tokens: int, window_chunks: int, least_characters: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WINDOW_CHUNKS", window_chunks)
        patch.setattr(module, "_MIN_WINDOW_CHARACTERS", least_characters)
        chunks = chunks_of(text, kind, chunk_tokens=chunk_tokens, overlap_tokens=chunk_tokens // 2)
    left = list(text)
    for chunk in chunks:
        assert estimated_tokens(chunk.text) <= chunk_tokens
        left[chunk.start : chunk.end] = " " * len(chunk.text)
    assert not "".join(left).strip()
    assert all(one.start < other.start and one.end < other.end for one, other in pairwise(chunks))


@given(
    st.lists(st.sampled_from(["word ", "Stop. ", "\n\n", "\n"]), max_size=900).map("".join), KINDS
)
def test_where_the_windows_lie_leaves_no_trace_in_a_text_of_paragraphs(
    text: str, kind: TextKind
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WINDOW_CHUNKS", 10**6)
        whole = chunks_of(text, kind, chunk_tokens=10)
    for chunk in chunks_of(text, kind, chunk_tokens=10):
        assert estimated_tokens(chunk.text) <= 10
    windowed = chunks_of(text, kind, chunk_tokens=10)
    assert len(windowed) <= len(whole) * 1.1 + 1


def test_a_chunk_that_the_end_of_a_window_cut_is_rebuilt_whole() -> None:
    words = "".join(f"{number:09} " for number in range(3000))
    chunks = chunks_of(words, chunk_tokens=25)
    assert {len(chunk.text) for chunk in chunks} == {99}, "ten words each, the last ones too"
    assert len(words) > 25 * 4 * module._WINDOW_CHUNKS * 2


@pytest.mark.parametrize("overlap_tokens", [0, 10])
def test_the_overlap_continues_from_window_to_window(overlap_tokens: int) -> None:
    words = "".join(f"{number:09} " for number in range(3000))
    chunks = chunks_of(words, chunk_tokens=25, overlap_tokens=overlap_tokens)
    shared = [one.end - other.start for one, other in pairwise(chunks)]
    assert {s > 0 for s in shared} == {overlap_tokens > 0}


ENDLESS = [
    *("word " * 400_000, "x" * 1_000_000, "a\n" * 500_000, "\n" * 2_000_000, "(" * 200_000),
    *("> " * 200_000, "a" + " \n" * 500_000, ("a" + "\n" * 511) * 2000, ("a" + " \n" * 300) * 2000),
]


@pytest.mark.parametrize("text", ENDLESS, ids=lambda text: repr(text[:6]))
@pytest.mark.parametrize("kind", ["plain", "markdown"])  # code is split as plain text
def test_no_text_takes_much_longer_than_its_length(text: str, kind: TextKind) -> None:
    started = time.process_time()
    for chunk in chunks_of(text, kind, overlap_tokens=16):
        assert text[chunk.start : chunk.end] == chunk.text
    assert time.process_time() - started < 60, "without windows it is many minutes"


def test_markdown_is_split_at_its_headings() -> None:
    part = "## Part\n\n" + "Some words of text here.\n\n" * 3
    chunks = chunks_of(f"# Whole\n\n{part}{part}{part}", "markdown", chunk_tokens=23)
    assert [chunk.text.split("\n")[0] for chunk in chunks] == ["# Whole", *["## Part"] * 3]


def test_plain_text_is_split_at_paragraphs() -> None:
    paragraphs = ["One. Two three four.", "Five six.\nSeven eight nine.", "Ten."]
    chunks = chunks_of("\n\n".join(paragraphs), chunk_tokens=7)
    assert [chunk.text for chunk in chunks] == paragraphs


def test_code_is_split_between_definitions_and_keeps_its_indentation() -> None:
    method = "    def f(self):\n        return 'some words'\n"
    code = f"class A:\n{method}\n{method}\n\nclass B:\n{method}"
    chunks = chunks_of(code, "code", chunk_tokens=18)
    assert [chunk.text for chunk in chunks] == [
        f"class A:\n{method}".rstrip(),
        method.rstrip(),
        f"class B:\n{method}".rstrip(),
    ]


@pytest.mark.parametrize("lines", [1, 600])
@pytest.mark.parametrize("kind", ["code", "markdown"])
def test_a_first_line_keeps_its_indentation_however_many_blank_lines_are_before_it(
    kind: TextKind, lines: int
) -> None:
    chunks = chunks_of("aaaa" + "\n" * lines + "    bbb", kind, chunk_tokens=2)
    assert [chunk.text for chunk in chunks] == ["aaaa", "    bbb"]


@given(TEXTS, KINDS)
def test_without_chunking_a_file_is_one_chunk(text: str, kind: TextKind) -> None:
    chunks = chunks_of(text, kind, chunk_tokens=None)
    assert len(chunks) == bool(text.strip())
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip() == text.strip()


def test_a_short_file_is_the_same_chunk_with_and_without_chunking() -> None:
    for kind in get_args(TextKind):
        text = "\n  Short text.  \n"
        assert chunks_of(text, kind) == chunks_of(text, kind, chunk_tokens=None)


@pytest.mark.parametrize("text", ["", " ", "\n\r\n\t", "\u3000\xa0\x1c\x85"])
def test_a_blank_text_has_no_chunk(text: str) -> None:
    for kind in get_args(TextKind):
        assert chunks_of(text, kind) == []
        assert chunks_of(text, kind, chunk_tokens=None) == []


def test_chunks_that_are_the_same_stay() -> None:
    chunks = chunks_of("Same words.\n\nSame words.", chunk_tokens=3)
    assert [chunk.text for chunk in chunks] == ["Same words."] * 2
    assert chunks[0].digest == chunks[1].digest
    assert chunks[0].id != chunks[1].id


def test_an_id_is_of_the_path_the_place_and_the_text_and_a_digest_of_the_text_alone() -> None:
    [chunk] = chunks_of("Hello é")
    assert chunk.digest == hashlib.sha256("Hello é".encode()).hexdigest()
    assert re.fullmatch("[0-9a-f]{32}", chunk.id)
    assert chunks_of("Hello é") == [chunk]
    [moved] = chunks_of("\n\nHello é")
    [renamed] = Chunker().chunks(Document("b", "Hello é"))
    [changed] = chunks_of("Hello e")
    assert len({chunk.id, moved.id, renamed.id, changed.id}) == 4
    assert moved.digest == renamed.digest == chunk.digest != changed.digest


def test_an_id_is_the_same_in_every_process() -> None:
    code = (
        "from llmscale.rows.documents import *\n"
        "print(next(iter(Chunker().chunks(Document('a/b.md', 'Hello')))).id)"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert runs == {next(Chunker().chunks(Document("a/b.md", "Hello"))).id}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", get_args(TextKind))
def test_a_change_leaves_most_digests_where_paragraphs_differ_in_length(
    kind: TextKind, seed: int
) -> None:
    draw = random.Random(seed)
    paragraphs = [f"{number}" + " word" * draw.randint(3, 60) + "." for number in range(200)]
    before = chunks_of("\n\n".join(paragraphs), kind, chunk_tokens=64)
    paragraphs[3] = "This one is new, and longer than the one that it takes the place of."
    after = chunks_of("\n\n".join(paragraphs), kind, chunk_tokens=64)
    new = {chunk.digest for chunk in after} - {chunk.digest for chunk in before}
    assert 1 <= len(new) <= len(after) / 5


def test_a_tokenizer_can_be_plugged_in() -> None:
    def words(text: str) -> int:
        return len(text.split())

    chunker = Chunker(chunk_tokens=5, count_tokens=words)
    chunks = list(chunker.chunks(Document("a", "a bb ccc dddd eeeee " * 50)))
    assert {words(chunk.text) for chunk in chunks} == {5}


def test_what_a_tokenizer_raises_is_not_swallowed() -> None:
    def broken(_: str) -> int:
        raise LookupError("no vocabulary")

    with pytest.raises(LookupError, match="no vocabulary"):
        list(Chunker(count_tokens=broken).chunks(Document("a", "text")))


def test_chunks_of_chinese_text_are_as_many_tokens_as_those_of_english_text() -> None:
    """An embedding model of 512 tokens must not lose half of a chunk."""
    chunks = list(Chunker(chunk_tokens=256).chunks(Document("a", "这是一个句子。" * 1_000)))
    assert {estimated_tokens(chunk.text) for chunk in chunks[:-1]} <= set(range(250, 257))


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"chunk_tokens": 0}, "--chunk-tokens must be from 1 to 1000000, not 0"),
        ({"chunk_tokens": -1}, "--chunk-tokens"),
        ({"chunk_tokens": 10**30}, "--chunk-tokens"),
        ({"overlap_tokens": -1}, "--overlap must be from 0"),
        ({"overlap_tokens": 256}, r"less than --chunk-tokens \(256\), not 256"),
        ({"chunk_tokens": None, "overlap_tokens": 1}, "--overlap has no effect with --no-chunk"),
    ],
)
def test_contradictory_sizes_are_refused(options: dict[str, int | None], flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        Chunker(**options)  # type: ignore[arg-type]
