"""`llmscale search`: the chunks whose vectors are nearest to that of a query.

The query is embedded with the same models, limits and cache as everything else. Nothing is written,
and vectors of another model are refused.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from llmscale import vector_files as exports
from llmscale.config import Config, with_settings
from llmscale.core.errors import CallFailed, ConfigError, JobError
from llmscale.core.vectors import Vector, fault_of, numbers_of
from llmscale.rows.sources import STDIN, expand
from llmscale.vector_files.lines import ChunkRecord, VectorBlock
from llmscale.vector_files.nearest import Hit, nearest


class FoundChunk(NamedTuple):
    """A chunk near the query."""

    file: str
    score: float  # cosine
    chunk: ChunkRecord


class SearchResult(NamedTuple):
    """The result of a search; empty where the files hold no vector."""

    model: str | None  # that embedded the query
    chunks: list[FoundChunk]


class _Head(NamedTuple):
    """A file, as its first vectors describe it."""

    path: Path
    models: frozenset[str]
    length: int


def search(
    config: Config, query: str, inputs: Sequence[str], k: int, model: str | None = None
) -> SearchResult:
    """Return the `k` chunks nearest to a query, over all files.

    `model` takes precedence over that of the vectors. Raises `JobError`.
    """
    if not query.strip():
        raise ConfigError("the query is empty")
    _refuse_swapped(query, inputs)
    heads = [head for path in _paths(inputs) if (head := _head(path))]
    if not heads:
        return SearchResult(None, [])
    chosen = model or _only_model(heads)
    vector = _embedded(config, query, chosen, _only_length(heads))
    expected = None if model else chosen
    hits = nearest([_blocks(head, vector, k, expected) for head in heads], vector, k)
    return SearchResult(
        chosen,
        [
            FoundChunk(str(heads[hit.file].path), hit.score, chunk)
            for hit, chunk in zip(hits, _chunks(heads, hits), strict=True)
        ],
    )


def _refuse_swapped(query: str, inputs: Sequence[str]) -> None:
    """Refuse a file in place of the query, where the query stands in place of a file."""
    if Path(query).suffix and os.path.isfile(query) and not any(map(os.path.exists, inputs)):  # noqa: PTH113
        raise ConfigError(
            "the query comes first: `llmscale search "
            f"{shlex.quote(inputs[0])} {shlex.quote(query)}`"
        )


def _paths(inputs: Sequence[str]) -> list[Path]:
    if STDIN in inputs:
        raise ConfigError("vectors can't come from standard input; name a file")
    return [Path(source.path) for source in expand(inputs, of_rows=False)]


def _head(path: Path) -> _Head | None:
    """Read the first vectors of a file, None where it has none."""
    for block in exports.blocks(path):
        return _Head(path, block.models, block.vectors.shape[1])
    return None


def _only_model(heads: Sequence[_Head]) -> str:
    first: tuple[str, Path] | None = None
    for head in heads:
        if not head.models:
            raise ConfigError(
                f"{head.path} does not name the model of its vectors; name it with --model"
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
                f"{head.length}; search them separately"
            )
    return first.length


def _two_models(one: tuple[str, Path], other: tuple[str, Path]) -> ConfigError:
    return ConfigError(
        f"vectors of different models can't be compared: {one[1]} has some of {one[0]} and "
        f"{other[1]} of {other[0]}; search them separately, or name the model of both with --model"
    )


def _embedded(config: Config, query: str, model: str, length: int) -> Vector:
    """Embed the query to as many numbers as the vectors have."""
    # first without a length: not every model accepts one
    wanted = config.embed.dimensions
    for dimensions in [length] if wanted == length else [None, length]:
        settings = with_settings(config, embed_model=model, embed_dimensions=dimensions)
        embedded = _embed(settings, query)
        vector = numbers_of(embedded)
        if vector.size == length:
            if fault := fault_of([embedded], length):
                raise JobError(f"can't embed the query: {fault}")
            return vector
    raise ConfigError(
        f"the query has {vector.size} numbers with {model}, and the vectors have {length}; name "
        "their model with --model"
    )


def _embed(config: Config, query: str) -> bytes:
    # late: it imports the network stack, which files without vectors do not need
    from llmscale.commands.embed import embed_texts

    try:
        (vector,) = embed_texts(config, [query])
    except CallFailed as error:
        raise JobError(f"can't embed the query: {error}") from None
    return vector


def _blocks(head: _Head, query: Vector, k: int, model: str | None) -> Iterator[VectorBlock]:
    """Yield the blocks of a file. Raises `ConfigError` for one with vectors of another model."""
    for block in exports.blocks(head.path, query, k):
        others = block.models - {model}
        if model is not None and others:
            raise _two_models((model, head.path), (min(others), head.path))
        if block.vectors.shape[1] != head.length:
            raise ConfigError(f"{head.path} has vectors of different lengths")
        yield block


def _chunks(heads: Sequence[_Head], hits: Sequence[Hit]) -> Iterator[ChunkRecord]:
    """Yield the chunk of each hit; each file is read once."""
    positions: dict[int, list[int]] = {}
    for hit in hits:
        positions.setdefault(hit.file, []).append(hit.position)
    found = {file: exports.chunks(heads[file].path, at) for file, at in positions.items()}
    for hit in hits:
        yield found[hit.file][hit.position]
