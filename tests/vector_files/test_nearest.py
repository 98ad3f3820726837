"""The nearest: what arithmetic says, however the vectors are cut into blocks and files."""

import math
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.vector_files.lines import VectorBlock
from llmscale.vector_files.nearest import Hit, cosines, nearest

numbers = st.floats(-100, 100, width=32)


def cut(positions: Any, vectors: Any) -> VectorBlock:
    """Return some vectors of a file, and where they stand."""
    return VectorBlock(positions, vectors, frozenset())


def vector(*values: float) -> Any:
    return np.array(values, "<f4")


def file_of(vectors: Sequence[Sequence[float]], block: int = 2) -> list[VectorBlock]:
    matrix = np.array(vectors, "<f4")
    return [
        cut(np.arange(at, min(at + block, len(matrix))), matrix[at : at + block])
        for at in range(0, len(matrix), block)
    ]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths


# ---- what arithmetic says ----------------------------------------------------------------------


@given(st.data())
def test_the_nearest_are_those_of_a_sort_of_all(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 4))
    long_enough = st.lists(numbers, min_size=length, max_size=length).filter(
        lambda values: math.hypot(*values) > 1e-3
    )
    files = data.draw(st.lists(st.lists(long_enough, min_size=1, max_size=8), max_size=3))
    query = data.draw(long_enough)
    k = data.draw(st.integers(1, 10))
    block = data.draw(st.integers(1, 9))
    hits = nearest([file_of(file, block) for file in files], vector(*query), k)
    scores = {
        (f, at): cosine(v, query) for f, file in enumerate(files) for at, v in enumerate(file)
    }
    assert len(hits) == min(k, len(scores))
    for hit in hits:
        assert hit.score == pytest.approx(scores.pop((hit.file, hit.position)), abs=1e-9)
    left_out = max(scores.values(), default=-2.0)
    assert all(hit.score >= left_out - 1e-9 for hit in hits)
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.file, hit.position))


@given(st.integers(1, 70), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_equal_vectors_have_equal_scores_wherever_they_stand(
    count: int, length: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    row, direction = random.standard_normal((2, length))
    same = np.tile(row.astype("<f4"), (count, 1))
    alone = cosines(same[:1], direction)
    assert (cosines(same, direction) == alone).all()
    unaligned = np.zeros(same.nbytes + 1, np.uint8)[1:].view("<f4").reshape(same.shape)
    unaligned[:] = same
    assert (cosines(unaligned, direction) == alone).all()


def test_of_equal_ones_the_first_of_the_first_file_comes_first() -> None:
    same = [[1.0, 2.0]] * 7
    hits = nearest([file_of(same, 3), file_of(same)], vector(2, 4), 9)
    first = [(0, at) for at in range(7)]
    assert [hit[:2] for hit in hits] == [*first, (1, 0), (1, 1)]


def test_blocks_in_any_order_give_the_same() -> None:
    blocks = file_of([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]], 1)
    assert nearest([blocks], vector(1, 1), 2) == nearest([blocks[::-1]], vector(1, 1), 2)


def test_the_length_of_a_vector_does_not_count_and_its_direction_does() -> None:
    file = file_of([[-5.0, 0.0], [0.0, 3.0], [1000.0, 0.0]])
    assert nearest([file], vector(0.1, 0), 3) == [Hit(0, 2, 1.0), Hit(0, 1, 0.0), Hit(0, 0, -1.0)]


# ---- what has no direction ---------------------------------------------------------------------


def test_vectors_without_direction_are_passed_over() -> None:
    rows = [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [1.0, 1.0], [math.nan, math.nan]]
    (hit,) = nearest([file_of(rows)], vector(1, 1), 5)
    assert hit[:2] == (0, 3)


@pytest.mark.parametrize("query", [(0, 0), (math.nan, 1), (math.inf, 1)])
def test_a_query_without_direction_is_refused(query: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="is zero or not finite"):
        nearest([file_of([[1.0, 1.0]])], vector(*query), 1)


def test_a_query_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="vectors of 2 numbers, a query of 3"):
        nearest([file_of([[1.0, 1.0]])], vector(1, 1, 1), 1)


@pytest.mark.parametrize("files", [[], [[]], [[], []]])
def test_of_nothing_nothing_is_near(files: list[list[VectorBlock]]) -> None:
    assert nearest(files, vector(1), 5) == []


# ---- memory ------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_vectors() -> None:
    def blocks() -> Iterator[VectorBlock]:
        random = np.random.default_rng(1)
        for at in range(0, 100_000, 1000):
            yield cut(np.arange(at, at + 1000), random.standard_normal((1000, 64), np.float32))

    tracemalloc.start()
    try:
        hits = nearest([blocks()], np.ones(64, "<f4"), 10)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(hits) == 10
    assert peak_bytes < 4 * 1024 * 1024  # all of them have 25 MB
