"""The order of fsync and rename, for the power loss that SIGKILL can't show.

`python -m tests.reliability.syscalls` prints a table; it needs strace. Of every file that is put in
its place: its content is synced before it is renamed, and the folder after that, before anything is
removed that it stands for.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.cli.tool import environment
from tests.reliability.figures import Figure, run_cases
from tests.reliability.watched import TOOL, WatchedJob, jobs_at_a_server
from tests.servers.chat import ROOT

TRACED = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat"
CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$")
DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
NAMES = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Done:
    """Something that was done to a file."""

    what: str  # sync, rename, unlink
    path: str  # its name before
    to: str = ""  # of a rename


def steps_in(trace: Iterable[str], folder: Path) -> Iterator[Done]:
    """Yield what strace saw, in the order in which it was done."""
    begun: dict[str, str] = {}
    for line in trace:
        found = CALL.match(line)
        if found is None:
            continue
        process, name, rest = found.groups()
        if "unfinished" in rest:
            begun[process] = rest
            continue
        arguments = begun.pop(process, "") + rest
        if not rest.rstrip().endswith("= 0"):
            continue
        if name in ("fsync", "fdatasync"):
            descriptor = DESCRIPTOR.match(arguments)
            if descriptor is not None:
                yield Done("sync", descriptor[1])
        else:
            paths = [str(folder / path) for path in NAMES.findall(arguments)]
            yield Done("rename" if "rename" in name else "unlink", *paths[:2])


def out_of_order(steps: Iterable[Done], folder: Path) -> list[str]:
    """Return what was done too early: renamed before it was synced, removed before it was safe."""
    found: list[str] = []
    synced: set[str] = set()
    unsafe: set[str] = set()  # names that the folder may forget
    for step in steps:
        if step.what == "sync":
            synced.add(step.path)
            if step.path == str(folder):
                unsafe.clear()
        elif step.what == "rename":
            if step.path not in synced:
                found.append(f"{step.path} was renamed and not synced")
            if step.to == str(folder / "out.jsonl") and f"{step.to}.partial" not in synced:
                found.append("the output was put in its place before its rows were synced")
            synced.discard(step.path)
            unsafe.add(step.to)
        elif step.path.endswith(".partial") and unsafe:
            found.append(f"{step.path} was removed before {', '.join(unsafe)} was safe")
    return found + [f"{path} may be forgotten" for path in unsafe]


def order(rows: int = 50) -> Figure:
    """Run a job under strace and look at every file that is put in its place."""
    with jobs_at_a_server() as make:
        job = make(rows, "--cache", "off")
        steps = list(steps_in(traced(job), job.folder))
        bad = out_of_order(steps, job.folder)
        for complaint in bad:
            print(complaint, file=sys.stderr)
        wrong = len(bad) + job.wrong()
    renames = sum(step.what == "rename" for step in steps)
    syncs = sum(step.what == "sync" for step in steps)
    value = f"{renames} renames, {syncs} syncs, {len(bad)} out of order"
    met = wrong == 0 and renames >= 4  # the job file twice at least, output, report
    return Figure("fsync", "order of sync, rename, sync, remove", renames, wrong, value, "0", met)


def traced(job: WatchedJob) -> list[str]:
    """Run a job under strace and return its lines."""
    trace = job.folder.parent / "trace"
    strace = ["strace", "-f", "-y", "-o", str(trace), "-e", f"trace={TRACED}"]
    subprocess.run(
        [*strace, sys.executable, "-m", *TOOL, *job.command],
        cwd=job.folder,
        env=environment(PYTHONPATH=str(ROOT)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return trace.read_text().splitlines()


def has_strace() -> bool:
    """Tell whether strace is there and may be used."""
    strace = shutil.which("strace")
    return (
        strace is not None and subprocess.run([strace, "-o", "/dev/null", "true"]).returncode == 0
    )


CASES: dict[str, list[Callable[[], Figure]]] = {"fsync": [partial(order, 50)]}


def main() -> None:
    """Run the case; exit 1 when a goal is not met."""
    run_cases("tests.reliability.syscalls", CASES)


if __name__ == "__main__":
    main()
