"""Faults of providers (P01 to P14), and how exact, fast and wide the balance is.

`python -m tests.reliability.faults [CASE ...]` prints a table.
"""

import logging
from collections import defaultdict
from collections.abc import Callable

from tests.reliability import (
    bad_answers,
    caps,
    hostile,
    outages,
    paces,
    pauses,
    refusals,
    silences,
    virtual_faults,
)
from tests.reliability.figures import Figure, run_cases

CASES: dict[str, list[Callable[[], Figure]]] = defaultdict(list)
for module in (
    virtual_faults,
    outages,
    paces,
    pauses,
    silences,
    refusals,
    bad_answers,
    hostile,
    caps,
):
    for name, cases in module.CASES.items():
        CASES[name] += cases


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    logging.getLogger("llmscale").setLevel(logging.ERROR)
    run_cases("tests.reliability.faults", CASES)


if __name__ == "__main__":
    main()
