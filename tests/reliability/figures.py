"""What a reliability case has shown, and the table of all of them."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.machine import print_machine


@dataclass(frozen=True, slots=True)
class Figure:
    """What one case has shown."""

    case: str
    what: str
    n: int
    bad: int
    value: str
    goal: str
    met: bool

    @property
    def bound(self) -> str:
        """The 95 % upper bound of what never happened (the rule of three)."""
        return f"{3 / self.n:.2%}" if self.bad == 0 else ""


def print_table(figures: Sequence[Figure]) -> None:
    """Print a line for each figure."""
    print(f"\n{'case':9}{'what':42}{'N':>7}{'bad':>6}{'95 %':>8}  {'figure':46}{'goal':22}met")
    for f in figures:
        met = "yes" if f.met else "NO"
        print(f"{f.case:9}{f.what:42}{f.n:>7,}{f.bad:>6}{f.bound:>8}  {f.value:46}{f.goal:22}{met}")


def run_cases(module: str, cases: Mapping[str, Sequence[Callable[[], Figure]]]) -> None:
    """Run the cases that the command line names, or all, print their table and exit.

    The exit code is 1 when a goal is not met.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("case", nargs="*", metavar="CASE", help=", ".join(cases))
    names = parser.parse_args().case or list(cases)
    if unknown := set(names) - set(cases):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(cases)}")
    print_machine()
    figures = []
    for name in names:
        for case in cases[name]:
            began_s = time.monotonic()
            figures.append(case())
            taken_s = time.monotonic() - began_s
            print(f"{name}: {figures[-1].what}, {taken_s:.1f} s", file=sys.stderr, flush=True)
    print_table(figures)
    sys.exit(0 if all(figure.met for figure in figures) else 1)
