"""A property that Hypothesis searches a counterexample to, as a line of the table."""

import traceback
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reliability.figures import Figure


def searched(
    case: str, what: str, examples: int, holds: Callable[..., None], *args: st.SearchStrategy[Any]
) -> Figure:
    """Search among so many examples for one in which `holds` raises."""
    tried = 0

    @settings(max_examples=examples)
    @given(st.tuples(*args))
    def search(example: tuple[Any, ...]) -> None:
        nonlocal tried
        tried += 1
        holds(*example)

    try:
        search()
    except Exception:  # whatever the property meets in an example
        traceback.print_exc()
        return Figure(case, what, tried, 1, "a counterexample", "none", met=False)
    return Figure(case, what, tried, 0, "no counterexample", "none", met=True)
