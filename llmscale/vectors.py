"""Vectors as bytes: float32, little-endian, as they travel, are stored and are written."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

LITTLE_FLOAT32 = np.dtype("<f4")

Vector = np.ndarray[Any, np.dtype[np.float32]]


def fault_of(vectors: Sequence[Vector], dimensions: int | None) -> str | None:
    """Say what is wrong with the vectors of one call, None where nothing is."""
    lengths = {vector.size for vector in vectors}
    if len(lengths) > 1:
        return f"vectors of different lengths came: {', '.join(map(str, sorted(lengths)))}"
    length = lengths.pop() if lengths else 0
    if not length or (dimensions is not None and length != dimensions):
        return f"vectors of {length} numbers came, not of {dimensions or 'one or more'}"
    matrix = np.stack(vectors)
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


def from_base64(text: str) -> Vector:
    """Return the numbers. Raises `ValueError`."""
    return np.frombuffer(base64.b64decode(text, validate=True), LITTLE_FLOAT32)
