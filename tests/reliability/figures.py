"""What a reliability case has shown, and the table of all of them."""

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pytest

from tests.benchmarks.machine import print_machine

Shows = Callable[["Figure"], None]


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
        """The 95 % upper bound of the share of bad ones; 3/N where there was none."""
        return f"{upper_bound(self.n, self.bad):.2%}" if self.n else ""


def upper_bound(n: int, bad: int) -> float:
    """Return the share of bad ones that is exceeded with a probability of 5 % at the most.

    C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), one-sided.
    """
    if bad >= n:
        return 1.0
    low, high = bad / n, 1.0
    for _ in range(60):
        share = (low + high) / 2
        if _at_most(n, bad, share) > 0.05:
            low = share
        else:
            high = share
    return high


def _at_most(n: int, bad: int, share: float) -> float:
    """Return the probability of so many bad ones or fewer, each with the same share."""
    logs = (
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(share)
        + (n - k) * math.log1p(-share)
        for k in range(bad + 1)
    )
    return sum(map(math.exp, logs))


def table(figures: Sequence[Figure]) -> list[str]:
    """Return the lines of a table: a head, and one for each figure."""
    lines = [f"{'case':9}{'what':42}{'N':>7}{'bad':>6}{'95 %':>8}  {'figure':46}{'goal':22}met"]
    for f in figures:
        met = "yes" if f.met else "NO"
        figure = f"{f.value:46}{f.goal:22}{met}"
        lines.append(f"{f.case:9}{f.what:42}{f.n:>7,}{f.bad:>6}{f.bound:>8}  {figure}")
    return lines


def print_table(figures: Sequence[Figure]) -> None:
    """Print a line for each figure."""
    print("", *table(figures), sep="\n")


@pytest.fixture
def shows(record_property: Callable[[str, object], None]) -> Shows:
    """Put a figure into the table at the end of the test run, then fail unless its goal is met.

    Use it in a test as `shows(Figure(...))`; import it to have it.
    """

    def show(figure: Figure) -> None:
        record_property("figure", asdict(figure))
        assert figure.met, figure

    return show


def shown(reports: Mapping[str, Sequence[object]]) -> list[Figure]:
    """Return the figures that tests have shown, in the order of their cases."""
    properties = [
        value
        for outcome in ("passed", "failed", "xfailed", "xpassed")
        for report in reports.get(outcome, ())
        for name, value in getattr(report, "user_properties", ())
        if name == "figure"
    ]
    return sorted((Figure(**p) for p in properties), key=lambda f: (f.case, f.what))


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
