"""Vectors that a server shifts, drops or spoils (P12), full batches in time, and search."""

from collections.abc import Callable

import pytest

from tests.reliability.embeddings import CASES
from tests.reliability.figures import Figure, Shows
from tests.reliability.test_faults import named


@pytest.mark.parametrize("case", [case for cases in CASES.values() for case in cases], ids=named)
def test_every_text_has_its_own_vector_or_none(case: Callable[[], Figure], shows: Shows) -> None:
    shows(case())
