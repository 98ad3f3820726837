"""Jobs for the tool itself, a process with a real clock, whose bottleneck is known."""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from llmscale.accounting.stats import Bottleneck
from tests.benchmarks.jobs import prompt
from tests.cli.tool import command, environment

SCRIPTS = {
    "slow_writer.py": """
import time
for number in range(100):
    print('{"prompt": "Question %d"}' % number, flush=True)
    time.sleep(0.02)
""",
    "slow_reader.py": """
import sys, time
while sys.stdin.buffer.read1(1 << 16):
    time.sleep(0.1)
""",
}


@dataclass(frozen=True, slots=True)
class ToolJob:
    """A job for the tool, as it stands in a shell; `in.jsonl` has so many rows."""

    name: str
    bottleneck: Bottleneck
    shell: str
    rows: int = 1
    metadata: str = ""  # of each row; it comes out again


JOBS: Sequence[ToolJob] = [
    ToolJob(
        "20,000 rows for a model that takes no time",
        "cpu",
        "{run} in.jsonl -o out.jsonl --model sim/a",
        20_000,
    ),
    ToolJob(
        "standard input with a row every 20 ms",
        "disk",
        "{python} slow_writer.py | {run} - -o - --model sim/a > out.jsonl",
    ),
    ToolJob(
        "standard output that is read at 640 KB/s",
        "disk",
        "{run} in.jsonl -o - --model sim/a | {python} slow_reader.py",
        2_000,
        metadata="x" * 600,
    ),
    ToolJob(
        "the weights of a model for one token",
        "start",
        "{run} in.jsonl -o out.jsonl --max-tokens 1",
    ),
]


def report_of(job: ToolJob) -> dict[str, Any]:
    """Run a job and return its report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [{"prompt": prompt(n), "metadata": job.metadata or None} for n in range(job.rows)]
        (folder / "in.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        for script, text in SCRIPTS.items():
            (folder / script).write_text(text)
        run = shlex.join(command("run", "--quiet", "--report", "report.json"))
        shell = job.shell.format(run=run, python=shlex.quote(sys.executable))
        subprocess.run(["/bin/sh", "-c", shell], cwd=folder, env=environment(), check=True)
        report: dict[str, Any] = orjson.loads((folder / "report.json").read_bytes())
        return report
