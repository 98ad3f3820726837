"""An estimate against the real bill, on five jobs on loopback, and how often its bounds hold.

Each job is estimated by counts alone and by a sample, and then run. The bill is what the report of
the run says; what the sample has cost is not in it, and has to be missing there. Then the same is
told for many samples of each job, worked out without a server (`tests.benchmarks.coverage`).
"""

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.benchmarks.coverage import coverage
from tests.benchmarks.estimate_jobs import JOBS, Job, Row
from tests.benchmarks.jobs import environment, program
from tests.benchmarks.machine import print_machine
from tests.servers.lengthy import lengthy_process


@dataclass(frozen=True, slots=True)
class Outcome:
    """An estimate and what it came to."""

    job: Job
    counts: dict[str, Any]
    told: dict[str, Any]
    report: dict[str, Any]

    def line(self) -> str:
        """Return the figures."""
        now, calls = self.told["now"], self.report["calls"]
        usd, hours, bill_usd = now["usd"], now["hours"], calls["cost_usd"]
        wall_s, sample = self.report["wall_s"], self.told["sample"]
        asked = f"{calls['attempts']:,}"
        return (
            f"{self.job.name:24} {sample['rows']:>4} {sample['failed']:>4} {asked:>6}  "
            f"{_money(usd)}  {bill_usd:>7.4f} {usd['estimate'] / bill_usd - 1:>+7.1%} "
            f"{_held(usd, bill_usd):>5} {_held(self.counts['now']['usd'], bill_usd):>7}  "
            f"{hours['estimate'] * 3600:>5.1f} ({hours['low'] * 3600:.1f} to "
            f"{hours['high'] * 3600:.1f})  {wall_s:>5.1f} {_held(hours, wall_s / 3600):>5}"
        )


HEAD = (
    f"{'job':24} {'asked':>4} {'bad':>3} {'calls':>6}  {'estimate $ (95 %)':25}  {'bill $':>7} "
    f"{'error':>7} {'held':>5} {'counts':>7}  {'estimate s (95 %)':20}  {'took s':>5} {'held':>5}"
)


def measured(job: Job, rows: int, sample: int, folder: Path) -> Outcome:
    """Estimate a job, run it, and return both."""
    all_rows = job.rows(rows)
    (folder / "llmscale.toml").write_text(job.settings())
    _write(folder / "in.jsonl", all_rows)
    _write(folder / "earlier.jsonl", all_rows[: round(rows * job.stored)])
    with lengthy_process("--latency", 0.05, "--jitter", 0.1, "--faults", job.faults) as url:
        model = ("--model", f"openai/{job.models[0].name}", "--base-url", url)
        if job.stored:
            _llmscale(folder, "run", "earlier.jsonl", *model, "--quiet")
        counts = _estimated(folder, *model, "--sample", "0")
        told = _estimated(folder, *model, "--sample", str(sample))
        _llmscale(folder, "run", "in.jsonl", *model, "--quiet")
    report: dict[str, Any] = orjson.loads((folder / "in.report.json").read_bytes())
    return Outcome(job, counts, told, report)


def _write(path: Path, rows: Sequence[Row]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _estimated(folder: Path, *options: str) -> dict[str, Any]:
    printed = _llmscale(folder, "estimate", "in.jsonl", *options, "--json", "--quiet")
    found: dict[str, Any] = orjson.loads(printed)
    return found


def _llmscale(folder: Path, *words: str) -> bytes:
    """Run the tool; rows that fail are a part of some jobs."""
    environ = environment(folder) | {"LLMSCALE_CACHE_MODE": "on"}
    command = [program(), *words]
    ended = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, check=False)
    if ended.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(words)} ended with {ended.returncode}, so there is no figure")
    return ended.stdout


def _held(span: dict[str, float | None], value: float) -> str:
    low, high = span["low"], span["high"]
    return "yes" if (low is None or low <= value) and (high is None or value <= high) else "NO"


def _money(usd: dict[str, float]) -> str:
    return f"{usd['estimate']:.4f} ({usd['low']:.4f} to {usd['high']:.4f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.estimate")
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--sample", type=int, default=50)
    parser.add_argument("--draws", type=int, default=1_000, help="samples of each job; 0: none")
    options = parser.parse_args()
    print_machine()
    print(f"{options.rows:,} rows, sample of {options.sample}; counts: the bounds by counts alone")
    print(HEAD)
    for job in JOBS:
        with tempfile.TemporaryDirectory() as folder:
            print(measured(job, options.rows, options.sample, Path(folder)).line(), flush=True)
    if not options.draws:
        return
    print(f"\n{options.draws:,} samples of {options.sample} rows of each job, worked out")
    print(f"{'job':24} {'held':>6} {'bill above':>10} {'error':>7} {'width':>7}  (medians)")
    for job in JOBS:
        held = coverage(job.name, options.sample, options.draws)
        print(
            f"{job.name:24} {held.share:>6.1%} {held.too_low:>10.1%} {held.error:>7.1%} "
            f"{held.width:>7.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
