"""Splits a text into chunks of at most so many tokens, at paragraphs, headings and sentences.

A chunk is a slice: `text[start:end] == chunk.text`. White space around a chunk belongs to none.
Never changes a text. Equal chunks are all kept; only a chunk that lies within its neighbour is
dropped.

Code is split as text, at blank lines first, not with the library's CodeSplitter: 8 KB of nested
brackets take that 20 s and 16 KB over a minute, in a call that can't be stopped, so that one
generated file would hang a job. On ordinary code the chunks are nearly the same.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from llmscale.accounting.tokens import BYTES_PER_TOKEN, estimated_tokens
from llmscale.core.errors import ConfigError
from llmscale.rows.documents.document import Document
from llmscale.rows.documents.file_kinds import TextKind

DEFAULT_CHUNK_TOKENS = 256
MAX_CHUNK_TOKENS = 1_000_000

# The library's time grows with the square of the text it is given (4 MB in one line: 42 s), and
# with that of a run of blank lines. So it is given one window at a time, of so many chunks.
_WINDOW_CHUNKS = 128
_MIN_WINDOW_CHARACTERS = 1024
_LONG_SPACE_CHARACTERS = 512
_LONG_SPACE = re.compile(rf"(?<!\s)\s{{{_LONG_SPACE_CHARACTERS},}}")
_ID_LENGTH = 32

CountTokens = Callable[[str], int]
_Span = tuple[int, int]  # start and end, in characters


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """A part of a document that is embedded as one."""

    id: str  # of this text at this place of this file: 32 hex digits
    digest: str  # of the text alone, SHA-256: stays when text before it changes, or the file moves
    source: str
    index: int  # 0-based in its file
    start: int  # in characters, not bytes
    end: int
    text: str


class _Splitter(Protocol):
    def chunk_indices(self, text: str, /) -> list[tuple[int, str]]: ...


class Chunker:
    """Splits documents. `chunk_tokens=None`: one chunk for the whole file.

    `overlap_tokens`: how much of a chunk the next one may repeat. `count_tokens` is called about
    five times a chunk. Raises `ConfigError` for sizes that contradict each other.
    """

    def __init__(
        self,
        *,
        chunk_tokens: int | None = DEFAULT_CHUNK_TOKENS,
        overlap_tokens: int = 0,
        count_tokens: CountTokens = estimated_tokens,
    ) -> None:
        _check(chunk_tokens, overlap_tokens)
        self._chunk_tokens = chunk_tokens
        self._overlap_tokens = overlap_tokens
        self._count_tokens = count_tokens
        self._splitters: dict[TextKind, _Splitter] = {}

    def chunks(self, document: Document) -> Iterator[Chunk]:
        """Yield the chunks of a document in their order; none for one that is blank."""
        text = document.text
        spans = (_narrowed(text, *span, document.kind) for span in self._spans(document))
        for index, (start, end) in enumerate(_outermost(spans)):
            yield _chunk(document.source, index, start, text[start:end])

    def _spans(self, document: Document) -> Iterator[_Span]:
        text = document.text
        if self._chunk_tokens is None:
            yield 0, len(text)
            return
        window = int(self._chunk_tokens * BYTES_PER_TOKEN * _WINDOW_CHUNKS)
        splitter = self._splitter(document.kind, self._chunk_tokens)
        start = 0
        for space in _LONG_SPACE.finditer(text):
            yield from _split(splitter, text, start, space.start(), window)
            indentation = _indentation(space[0])
            start = space.end() - (indentation if indentation < _LONG_SPACE_CHARACTERS else 0)
        yield from _split(splitter, text, start, len(text), window)

    def _splitter(self, kind: TextKind, chunk_tokens: int) -> _Splitter:
        if kind not in self._splitters:
            from semantic_text_splitter import MarkdownSplitter, TextSplitter

            make = MarkdownSplitter if kind == "markdown" else TextSplitter
            self._splitters[kind] = make.from_callback(
                self._count_tokens,
                chunk_tokens,
                overlap=self._overlap_tokens,
                trim=kind == "plain",  # else it takes the indentation of a first line
            )
        return self._splitters[kind]


def _check(chunk_tokens: int | None, overlap_tokens: int) -> None:
    if chunk_tokens is None:
        if overlap_tokens:
            raise ConfigError("--overlap has no effect with --no-chunk; omit one of them")
        return
    if not 1 <= chunk_tokens <= MAX_CHUNK_TOKENS:
        raise ConfigError(
            f"--chunk-tokens must be from 1 to {MAX_CHUNK_TOKENS}, not {chunk_tokens}"
        )
    if not 0 <= overlap_tokens < chunk_tokens:
        raise ConfigError(
            f"--overlap must be from 0 to less than --chunk-tokens ({chunk_tokens}), "
            f"not {overlap_tokens}"
        )


def _split(splitter: _Splitter, text: str, start: int, end: int, window: int) -> Iterator[_Span]:
    """Yield spans, window by window.

    The last chunk of a window was cut by its end, so the next window starts with that chunk.
    """
    while start < end:
        stop = min(start + max(window, _MIN_WINDOW_CHARACTERS), end)
        found = splitter.chunk_indices(text[start:stop])
        following = stop
        if stop < end and found and found[-1][0] > 0:
            following = start + found.pop()[0]
        for offset, chunk in found:
            yield start + offset, start + offset + len(chunk)
        start = following


def _narrowed(text: str, start: int, end: int, kind: TextKind) -> _Span:
    """Strip white space from both ends, except the indentation of code and Markdown."""
    part = text[start:end]
    kept = len(part.rstrip())
    blank = len(part) - len(part.lstrip())
    if kind != "plain":
        blank -= _indentation(part[:blank])
    return start + min(blank, kept), start + kept


def _indentation(space: str) -> int:
    """Return the length of the white space that is in the same line as the text behind it."""
    return len(space) - 1 - max(space.rfind("\n"), space.rfind("\r"))


def _outermost(spans: Iterable[_Span]) -> Iterator[_Span]:
    """Leave out spans that are empty, and those that lie within the one before or after.

    An overlap produces them where a chunk and what the next one repeats differ only in white space.
    """
    before: _Span | None = None
    for span in spans:
        if before is None:
            before = span if span[0] < span[1] else None
        elif span[0] < span[1] and span[1] > before[1]:
            if span[0] > before[0]:
                yield before
            before = span
    if before is not None:
        yield before


def _chunk(source: str, index: int, start: int, text: str) -> Chunk:
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    place = f"{source}\0{start}\0{digest}".encode()
    return Chunk(
        id=hashlib.sha256(place).hexdigest()[:_ID_LENGTH],
        digest=digest,
        source=source,
        index=index,
        start=start,
        end=start + len(text),
        text=text,
    )
