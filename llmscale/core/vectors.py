"""Vectors as bytes: float32, little-endian, as they travel, are stored and are written."""

import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np

LITTLE_FLOAT32 = np.dtype("<f4")

Vector = np.ndarray[Any, np.dtype[np.float32]]


def fault_of(vectors: Sequence[bytes], dimensions: int | None) -> str | None:
    """Say what is wrong with the vectors of one call, None where nothing is."""
    sizes = {len(vector) // LITTLE_FLOAT32.itemsize for vector in vectors}
    if len(sizes) > 1:
        return f"vectors of different lengths came: {', '.join(map(str, sorted(sizes)))}"
    size = sizes.pop() if sizes else 0
    if not size or (dimensions is not None and size != dimensions):
        return f"vectors of {size} numbers came, not of {dimensions or 'one or more'}"
    matrix = numbers_of(b"".join(vectors)).reshape(len(vectors), size)
    if not np.isfinite(matrix).all():
        return "a vector came that holds no finite number"
    if not matrix.any(axis=1).all():
        return "a vector came that is zero"
    return None


def normalized(vector: bytes) -> bytes:
    """Return a vector of the length 1 in the same direction."""
    numbers = np.frombuffer(vector, LITTLE_FLOAT32).astype(np.float64)
    return bytes((numbers / np.linalg.norm(numbers)).astype(LITTLE_FLOAT32).tobytes())


def numbers_of(vector: bytes) -> Vector:
    """Return the numbers of a vector."""
    return np.frombuffer(vector, LITTLE_FLOAT32)


def from_base64(text: str) -> bytes:
    """Return the vector that a text stands for. Raises `ValueError`."""
    return of_whole_numbers(binascii.a2b_base64(text, strict_mode=True))


def of_whole_numbers(vector: bytes) -> bytes:
    """Return a vector as it is. Raises `ValueError` where its last number is cut."""
    if len(vector) % LITTLE_FLOAT32.itemsize:
        raise ValueError(f"{len(vector)} bytes are no whole numbers of float32")
    return vector
