"""What goes in (I01 to I05): rows, ids, files and settings, ugly, wrong and mutated.

`python -m tests.reliability.inputs [CASE ...]` prints a table.
"""

import logging

from tests.reliability import mutated_settings, mutations, reading, wrong_settings
from tests.reliability.figures import run_cases

CASES = {
    **reading.CASES,
    **wrong_settings.CASES,
    "I05": mutations.CASES["I05"] + mutated_settings.CASES["I05"],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    logging.getLogger("llmscale").setLevel(logging.ERROR)
    run_cases("tests.reliability.inputs", CASES)


if __name__ == "__main__":
    main()
