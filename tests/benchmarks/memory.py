"""Peak memory of `llmscale run` at few and at many rows: the promise is that it stays flat."""

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.jobs import environment, insist, run_command_line, write_prompts
from tests.benchmarks.machine import print_machine
from tests.benchmarks.paired import Sample, run_command
from tests.servers.chat import chat_process


def measure(rows: int, base_url: str) -> Sample:
    """Run a job of so many rows in a folder of its own, and check every answer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / "prompts.jsonl", rows)
        command = run_command_line(base_url, "--concurrency", "64")
        sample = run_command(command, cwd=folder, env=environment(folder))
        insist(folder / "out.jsonl", rows)
    return sample


def main() -> None:
    """Measure each number of rows and print the difference between the first and the last."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    options = parser.parse_args()
    print_machine()
    peaks_mb = []
    with chat_process() as base_url:
        for rows in options.rows:
            sample = measure(rows, base_url)
            peaks_mb.append(sample.peak_bytes / 1e6)
            rate = rows / sample.wall_s
            print(f"{rows:>9,} rows  peak {peaks_mb[-1]:.0f} MB  {rate:,.0f} rows/s", flush=True)
    print(f"difference  {peaks_mb[-1] - peaks_mb[0]:+.0f} MB; every row there once and right")


if __name__ == "__main__":
    main()
