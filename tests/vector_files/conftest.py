"""All tests of this folder can use sqlite-vec."""

from collections.abc import Iterator

import pytest

from tests.vector_files import extensions_loadable


@pytest.fixture(autouse=True, scope="session")
def _sqlite_vec() -> Iterator[None]:
    with extensions_loadable():
        yield
