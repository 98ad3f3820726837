"""Vectors as bytes: what is one, what is none, and the way there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.vectors import fault_of, from_base64, normalized, numbers_of

NUMBERS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1)


def vector(*numbers: float) -> bytes:
    return np.array(numbers, "<f4").tobytes()


@given(NUMBERS)
def test_bytes_are_the_numbers_and_nothing_else(numbers: list[float]) -> None:
    assert numbers_of(vector(*numbers)).tolist() == np.array(numbers, "<f4").tolist()


def test_base64_is_read_as_the_numbers() -> None:
    assert from_base64("AACAPwAAAEA=") == vector(1, 2)


@pytest.mark.parametrize("text", ["AACAPw", "AACAPwA=", "***"])
def test_what_is_no_base64_of_whole_numbers_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the library's own words)
        from_base64(text)


def test_right_vectors_have_no_fault() -> None:
    assert fault_of([vector(1, 0), vector(0, -1)], None) is None
    assert fault_of([vector(1, 0)], 2) is None


@pytest.mark.parametrize(
    ("vectors", "dimensions", "fault"),
    [
        ([vector(1, 2), vector(1)], None, "different lengths"),
        ([vector()], None, "0 numbers"),
        ([], None, "0 numbers"),
        ([vector(1, 2)], 3, "2 numbers came, not of 3"),
        ([vector(1, float("nan"))], None, "no finite number"),
        ([vector(1, float("inf"))], None, "no finite number"),
        ([vector(1, 0), vector(0, 0)], None, "is zero"),
    ],
)
def test_every_fault_of_a_call_has_its_sentence(
    vectors: list[bytes], dimensions: int | None, fault: str
) -> None:
    assert fault in (fault_of(vectors, dimensions) or "")


def test_a_normalized_vector_is_one_long() -> None:
    assert numbers_of(normalized(vector(3, 4))).tolist() == pytest.approx([0.6, 0.8])
