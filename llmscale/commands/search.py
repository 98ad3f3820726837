"""`llmscale search`: the chunks whose vectors are nearest to that of a query.

The query goes through the same models, limits and cache as everything else that is embedded.
Nothing is written, and no file is searched that holds vectors of another model.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from llmscale import vector_files as exports
from llmscale.config import Config, with_settings
from llmscale.core.errors import CallFailed, ConfigError, JobError
from llmscale.core.vectors import Vector, fault_of, numbers_of
from llmscale.rows.sources import STDIN, expand
from llmscale.vector_files.lines import Block, Chunk
from llmscale.vector_files.nearest import Hit, nearest


class FoundChunk(NamedTuple):
    """A chunk that is near to the query."""

    file: str
    score: float  # cosine
    chunk: Chunk


class Found(NamedTuple):
    """What a search has come to; nothing where the files hold no vector."""

    model: str | None  # that the query was embedded with
    chunks: list[FoundChunk]


class _Head(NamedTuple):
    """What the first vectors of a file tell of it."""

    path: Path
    models: frozenset[str]
    length: int


def search(
    config: Config, query: str, inputs: Sequence[str], k: int, model: str | None = None
) -> Found:
    """Return the `k` chunks nearest to a query, over all files.

    `model` goes before the one that the vectors are of. Raises `JobError`.
    """
    if not query.strip():
        raise ConfigError("the query is empty")
    heads = [head for path in _paths(inputs) if (head := _head(path))]
    if not heads:
        return Found(None, [])
    asked = model or _only_model(heads)
    vector = _embedded(config, query, asked, _only_length(heads))
    expected = None if model else asked
    hits = nearest([_blocks(head, vector, k, expected) for head in heads], vector, k)
    return Found(
        asked,
        [
            FoundChunk(str(heads[hit.file].path), hit.score, chunk)
            for hit, chunk in zip(hits, _chunks(heads, hits), strict=True)
        ],
    )


def _paths(inputs: Sequence[str]) -> list[Path]:
    if STDIN in inputs:
        raise ConfigError("vectors can't come from standard input; name a file")
    return [Path(source.path) for source in expand(inputs)]


def _head(path: Path) -> _Head | None:
    """Look at the first vectors of a file, None where it has none."""
    for block in exports.blocks(path):
        return _Head(path, block.models, block.vectors.shape[1])
    return None


def _only_model(heads: Sequence[_Head]) -> str:
    first: tuple[str, Path] | None = None
    for head in heads:
        if not head.models:
            raise ConfigError(
                f"{head.path} does not say of which model its vectors are; say so with --model"
            )
        for model in sorted(head.models):
            first = first or (model, head.path)
            if model != first[0]:
                raise _two_models(first, (model, head.path))
    assert first is not None  # noqa: S101
    return first[0]


def _only_length(heads: Sequence[_Head]) -> int:
    first = heads[0]
    for head in heads:
        if head.length != first.length:
            raise ConfigError(
                f"{first.path} has vectors of {first.length} numbers and {head.path} of "
                f"{head.length}; search them one by one"
            )
    return first.length


def _two_models(one: tuple[str, Path], other: tuple[str, Path]) -> ConfigError:
    return ConfigError(
        f"vectors of different models can't be compared: {one[1]} has some of {one[0]} and "
        f"{other[1]} of {other[0]}; search them one by one, or say with --model what both are"
    )


def _embedded(config: Config, query: str, model: str, length: int) -> Vector:
    """Embed the query to as many numbers as the vectors have."""
    # as many as the model gives come first: not every model can be told how many
    told = config.embed.dimensions
    for dimensions in [length] if told == length else [None, length]:
        settings = with_settings(config, embed_model=model, embed_dimensions=dimensions)
        embedded = _embed(settings, query)
        vector = numbers_of(embedded)
        if vector.size == length:
            if fault := fault_of([embedded], length):
                raise JobError(f"the query could not be embedded: {fault}")
            return vector
    raise ConfigError(
        f"{model} gives a query {vector.size} numbers, and the vectors have {length}; name "
        "the model that they are of with --model"
    )


def _embed(config: Config, query: str) -> bytes:
    # late, for the tests and for files without vectors: with this comes the network stack
    from llmscale.commands.embed import embed_texts

    try:
        (vector,) = embed_texts(config, [query])
    except CallFailed as error:
        raise JobError(f"the query could not be embedded: {error}") from None
    return vector


def _blocks(head: _Head, query: Vector, k: int, model: str | None) -> Iterator[Block]:
    """Yield the blocks of a file. Raises `ConfigError` for one with vectors of another model."""
    for block in exports.blocks(head.path, query, k):
        others = block.models - {model}
        if model is not None and others:
            raise _two_models((model, head.path), (min(others), head.path))
        if block.vectors.shape[1] != head.length:
            raise ConfigError(f"{head.path} has vectors of different lengths")
        yield block


def _chunks(heads: Sequence[_Head], hits: Sequence[Hit]) -> Iterator[Chunk]:
    """Yield the chunk of each hit; each file is gone through once."""
    positions: dict[int, list[int]] = {}
    for hit in hits:
        positions.setdefault(hit.file, []).append(hit.position)
    found = {file: exports.chunks(heads[file].path, at) for file, at in positions.items()}
    for hit in hits:
        yield found[hit.file][hit.position]
