"""Two things measured in turn, so that a busy machine slows both and the ratio stays true.

A ratio is the median of the ratios of neighbouring runs, not a ratio of two medians.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Generic, TypeVar

T = TypeVar("T")

_LAUNCH = Path(__file__).with_name("launch.py")
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one thing."""

    wall_s: float
    cpu_s: float  # of the process and its children, user and system
    peak_bytes: int  # largest resident set of one process


@dataclass(frozen=True, slots=True)
class Pairs(Generic[T]):
    """The samples of two things that ran in turn; those with the same place are neighbours."""

    first: list[T]
    second: list[T]

    def ratio(self, figure: Callable[[T], float]) -> float:
        """Return how many times as large as the second's the first's figure is."""
        pairs = zip(self.first, self.second, strict=True)
        return median(figure(first) / figure(second) for first, second in pairs)


def run_command(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Sample:
    """Run a command to its end; raises `CalledProcessError` when it fails."""
    reader, writer = os.pipe()
    launch = [sys.executable, "-I", "-S", str(_LAUNCH), str(writer), *command]
    process = subprocess.Popen(
        launch, cwd=cwd, env=env, stdout=subprocess.DEVNULL, pass_fds=(writer,)
    )
    os.close(writer)
    with os.fdopen(reader) as told:
        words = told.read().split()
    if process.wait() != 0 or words[0] != "0":
        raise subprocess.CalledProcessError(int(words[0]) if words else 1, command)
    return Sample(float(words[1]), float(words[2]), int(words[3]) * _MAXRSS_BYTES)


def alternate(first: Callable[[], T], second: Callable[[], T], runs: int) -> Pairs[T]:
    """Run both `runs` times, and let them take turns at going first."""
    pairs: Pairs[T] = Pairs([], [])
    for number in range(runs):
        turns = [(first, pairs.first), (second, pairs.second)]
        for run, samples in turns if number % 2 == 0 else reversed(turns):
            samples.append(run())
    return pairs


def spread(samples: Sequence[T], figure: Callable[[T], float], digits: int = 2) -> str:
    """Return minimum, median and maximum of a figure as text."""
    values = [figure(sample) for sample in samples]
    return " / ".join(
        f"{value:,.{digits}f}" for value in (min(values), median(values), max(values))
    )


def print_pairs(first: str, second: str, pairs: Pairs[Sample]) -> None:
    """Print wall, CPU and peak of both by name, and how the first compares with the second."""
    width = max(len(first), len(second))
    for name, samples in ((first, pairs.first), (second, pairs.second)):
        print(
            f"{name:{width}}  wall {spread(samples, lambda s: s.wall_s)} s"
            f"  CPU {spread(samples, lambda s: s.cpu_s)} s"
            f"  peak {spread(samples, lambda s: s.peak_bytes / 1e6, 0)} MB"
        )
    wall, cpu = pairs.ratio(lambda s: s.wall_s), pairs.ratio(lambda s: s.cpu_s)
    runs = len(pairs.first)
    print(
        f"{'ratio':{width}}  wall {wall:.2f}  CPU {cpu:.2f}  (median of {runs} pairs)", flush=True
    )
