"""The nearest of many vectors by cosine similarity to a query: exact, without an index.

Every vector is compared, block by block, so that memory does not grow with their number. Knows no
file format.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from llmscale.core.vectors import Vector
from llmscale.vector_files.lines import Positions, VectorBlock

_SLICE_NUMBERS = 1 << 19  # compared at once: 4 MB in float64, which fit the cache of a core

Scores = np.ndarray[Any, np.dtype[np.float64]]


class Hit(NamedTuple):
    """A near vector."""

    file: int  # its index among the files
    position: int  # in its file
    score: float  # the cosine: 1 same direction, 0 nothing in common


def nearest(files: Iterable[Iterable[VectorBlock]], query: Vector, k: int) -> list[Hit]:
    """Return the `k` nearest, nearest first; ties in the order of files and positions.

    Vectors without a direction (zero or not finite) are skipped. Raises `ValueError` for such a
    query, and for vectors of another length.
    """
    if not np.isfinite(query).all() or not query.any():
        raise ValueError("the query vector is zero or not finite")
    direction = query.astype(np.float64)
    direction /= np.linalg.norm(direction)
    best_scores: Scores = np.empty(0)
    best_places: Positions = np.empty((0, 2), np.int64)
    for number, blocks in enumerate(files):
        for block in blocks:
            scores = cosines(block.vectors, direction)
            places = np.stack([np.full(len(scores), number), block.positions], axis=1)
            usable = np.isfinite(scores)
            scores = np.concatenate([best_scores, scores[usable]])
            places = np.concatenate([best_places, places[usable]])
            # lexsort: the last key is the primary one
            order = np.lexsort((places[:, 1], places[:, 0], -scores))[:k]
            best_scores, best_places = scores[order], places[order]
    return [
        Hit(int(file), int(position), float(score))
        for (file, position), score in zip(best_places, best_scores, strict=True)
    ]


def cosines(vectors: np.ndarray[Any, np.dtype[np.float32]], direction: Scores) -> Scores:
    """Return the cosine of each row to a vector of length 1; NaN for rows without direction.

    Equal rows have equal cosines: each row is summed by itself in float64, while a matrix product
    would round depending on the other rows.
    """
    if vectors.shape[1] != direction.size:
        raise ValueError(f"vectors of {vectors.shape[1]} numbers, a query of {direction.size}")
    return np.concatenate([np.empty(0), *_sliced_cosines(vectors, direction)])


def _sliced_cosines(
    vectors: np.ndarray[Any, np.dtype[np.float32]], direction: Scores
) -> Iterator[Scores]:
    step = max(1, _SLICE_NUMBERS // direction.size)
    for first in range(0, len(vectors), step):
        rows = vectors[first : first + step].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = (rows * direction).sum(axis=1) / np.sqrt((rows * rows).sum(axis=1))
        yield cosines
