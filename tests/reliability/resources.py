"""R01: few open files; R02: many rows; R03: many rows behind one that takes long.

`python -m tests.reliability.resources [CASE ...]` prints a table. Memory is the largest resident
set of the process of the tool, as the kernel has it.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.benchmarks.jobs import MODEL, judge, write_prompts
from tests.benchmarks.paired import Sample, run_command
from tests.cli.tool import command, environment
from tests.reliability.figures import Figure, run_cases
from tests.reliability.ledger import Entry, Reservation
from tests.reliability.watched import jobs_at_a_server
from tests.servers.chat import ROOT, chat_process

SLOW_MODEL = "slow"  # as the server sees it
LATENCY_S = 0.02
MAX_MB = 50.0


def r01(rows: int = 2_000, width: int = 500, files: int = 64, *, hard: bool = True) -> Figure:
    """So few files, and more calls at once than that. A soft limit alone is raised."""
    limits = f"ulimit {'' if hard else '-S '}-n {files}"
    with jobs_at_a_server("--latency", LATENCY_S) as make:
        job = make(rows, "--cache", "off", "--concurrency", width)
        code, said = job.run(limits=limits)
        job.news()
        bad = job.wrong() + (code != 0)
    says_so = f"of {width} calls at once only" in said
    again = Reservation.of(job.entries).asked_again
    most = most_at_once(job.entries)
    bad += again + (says_so != hard) + (hard and most >= files)
    value = f"{most} at once, {again} asked again, {'said' if says_so else 'not said'}"
    what = f"{limits}, {width} in flight"
    return Figure("R01", what, rows, bad, value, "0, said" if hard else "0", bad == 0)


def most_at_once(entries: Sequence[Entry]) -> int:
    """Return the most calls that were with the server at a time."""
    most = now = 0
    for entry in entries:
        now += 1 if entry.event == "arrived" else -1
        most = max(most, now)
    return most


def r02(few: int = 10_000, many: int = 1_000_000, cache: str = "on") -> Figure:
    """Peak memory at many rows over that at few."""
    with chat_process() as base_url:
        measured = [_measured(rows, base_url, cache) for rows in (few, many)]
    return _memory("R02", f"{many:,} rows, cache {cache}", measured)


def r03(few: int = 10_000, behind: int = 100_000, slow_s: float = 60.0) -> Figure:
    """The first row takes its time, and many are done behind it; over few without such a row."""
    with tempfile.TemporaryDirectory() as name:
        scenario = Path(name) / "slow.toml"
        scenario.write_text(f'[[phase]]\nmodel = "{SLOW_MODEL}"\nlatency = {slow_s}\n')
        with mock_process("--scenario", scenario) as base_url:
            measured = [
                _measured(few, base_url, "on"),
                _measured(behind + 1, base_url, "on", first_model=SLOW_MODEL),
            ]
    figure = _memory("R03", f"{behind:,} rows behind one of {slow_s:g} s", measured)
    held_up = measured[1].sample.wall_s < slow_s  # or the case is none
    return replace(figure, met=figure.met and not held_up)


@dataclass(frozen=True, slots=True)
class Measured:
    """A run of the tool, and what it has used."""

    rows: int
    sample: Sample
    wrong: int


def _measured(rows: int, base_url: str, cache: str, first_model: str | None = None) -> Measured:
    """Run a job in a folder of its own, and judge its output line by line."""
    to = ("--model", f"openai/{MODEL}", "--base-url", base_url, "--cache-dir", "cache")
    job = command("run", "prompts.jsonl", "-o", "out.jsonl", "--quiet", *to, "--cache", cache)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / "prompts.jsonl", rows, first_model)
        sample = run_command(job, cwd=folder, env=environment(PYTHONPATH=str(ROOT)))
        verdict = judge(folder / "out.jsonl", rows)
    wrong = verdict.wrong - (first_model is not None)  # its answer is that of another model
    return Measured(rows, sample, verdict.lost + verdict.duplicated + wrong)


def _memory(case: str, what: str, measured: Sequence[Measured]) -> Figure:
    few, many = measured
    more_mb = (many.sample.peak_bytes - few.sample.peak_bytes) / 1e6
    peak_mb = many.sample.peak_bytes / 1e6
    wrong = few.wrong + many.wrong
    value = (
        f"peak {peak_mb:.0f} MB, {more_mb:+.0f} MB, {many.rows / many.sample.wall_s:,.0f} rows/s"
    )
    met = more_mb <= MAX_MB and wrong == 0
    return Figure(case, what, many.rows, wrong, value, f"<= +{MAX_MB:g} MB, 0", met)


@contextmanager
def mock_process(*options: object) -> Iterator[str]:
    """Run `llmscale mock` and yield its base URL."""
    mock = command("mock", *options)
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(mock, env=environment(), stdout=pipe, stderr=null, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


CASES: dict[str, list[Callable[[], Figure]]] = {
    "R01": [r01, partial(r01, hard=False)],
    "R02": [r02],
    "R03": [r03],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.resources", CASES)


if __name__ == "__main__":
    main()
