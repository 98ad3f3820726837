"""S01: the disk is full at a random moment, then there is space again; and a read-only folder.

`python -m tests.reliability.full_disk [CASE ...]` prints a table. Everywhere, a file that may not
grow any more stands for the disk (`ulimit -f`: a write is cut short and the next one fails). Where
this process may mount, it is a small tmpfs that somebody fills up.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

from tests.reliability.crashes import finished_in, safe_in
from tests.reliability.figures import Figure, run_cases
from tests.reliability.ledger import Reservation, arrivals
from tests.reliability.watched import WatchedJob, jobs_at_a_server

WIDTH = 16
LINE_BYTES = 330  # of a row, or a little more
BLOCK_BYTES = 512  # of `ulimit -f`
DISK_BYTES = 32_000_000
READ_ONLY = Path("/sys/kernel")  # where not even root makes a file


def limited_file(stops: int = 20, rows: int = 300, seed: int = 1) -> Figure:
    """No file may grow beyond a random size, then all may."""
    rng = Random(seed)
    bad = 0
    with jobs_at_a_server("--latency", 0.02, "--jitter", 0.02) as make:
        for _ in range(stops):
            job = make(rows, "--cache", "off", "--concurrency", WIDTH)
            blocks = rng.randint(8, rows * LINE_BYTES * 9 // 10 // BLOCK_BYTES)
            code, said = job.run(limits=f"ulimit -f {blocks}")
            bad += _stopped_badly(job, code, said) + _resumed_badly(job)
    return _figure("a file that may not grow", stops, bad)


def full_tmpfs(stops: int = 20, rows: int = 300, seed: int = 1) -> Figure:
    """A disk of its own is filled up while the job runs, and then there is space again."""
    rng = Random(seed)
    bad = 0
    with jobs_at_a_server("--latency", 0.02, "--jitter", 0.02) as make:
        for _ in range(stops):
            job = make(rows, "--cache", "on", "--cache-dir", "cache", "--concurrency", WIDTH)
            with tmpfs_over(job.folder):
                running = job.start()
                running.until(partial(job.has_asked, rng.randint(1, rows * 9 // 10)))
                ballast = job.folder / "llmscale.toml"  # of a name that a job may have beside it
                fill(ballast)
                code = job.end(running)
                bad += _stopped_badly(job, code, running.said)
                ballast.unlink()
                bad += _resumed_badly(job)
    return _figure("a tmpfs filled up", stops, bad)


def read_only(rows: int = 20) -> Figure:
    """Nothing can be written where the output should be."""
    with jobs_at_a_server() as make:
        job = make(rows, "--cache", "off")
        output = job.folder / "shut" / "out.jsonl"
        output.parent.mkdir(mode=0o500)
        if os.access(output.parent, os.W_OK):  # root may write everywhere but here
            output = READ_ONLY / "out.jsonl"
        code, said = job.run("-o", output)
        asked = len(arrivals(job.news()))
        bad = int(code != 5 or "can't write" not in said) + asked + len(job.complaints)
    return Figure(
        "S01", "a read-only folder", 1, bad, f"exit code {code}, {asked} calls", "5, 0", not bad
    )


def can_mount() -> bool:
    """Tell whether this process may mount a disk of its own."""
    with tempfile.TemporaryDirectory() as name:
        try:
            with tmpfs_over(Path(name)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


@contextmanager
def tmpfs_over(folder: Path) -> Iterator[None]:
    """Put a small disk over a folder, with the files that are there. Raises where one may not."""
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        for name, raw in content.items():
            (folder / name).write_bytes(raw)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def fill(path: Path) -> None:
    """Write until there is no space."""
    with path.open("wb", buffering=0) as file:
        for size in (1_000_000, 4_096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def _stopped_badly(job: WatchedJob, code: int, said: str) -> int:
    """Count what is wrong with the stop: the code, the words, and calls that go on and on."""
    job.news()
    unwritten = len(arrivals(job.entries)) - len(finished_in(job.partial))
    sends_on = unwritten > 2 * WIDTH  # those in flight, and those answered in that moment
    found = (code != 5) + ("to resume:" not in said) + sends_on
    if found:
        print(f"{job.folder.name}: exit code {code}, {unwritten} unwritten, it said {said}")
    return found


def _resumed_badly(job: WatchedJob) -> int:
    """Count what is wrong after the same command has ended well: rows, and rows paid for again."""
    safe = safe_in(job)
    unwritten = len(arrivals(job.entries)) - len(safe)
    code, said = job.run()
    again = safe.intersection(arrivals(job.news()))
    if code:
        print(f"{job.folder.name}: exit code {code}, it said {said}")
    lost = Reservation.of(job.entries).asked_again > unwritten
    return (code != 0) + lost + len(again) + job.wrong()


def _figure(what: str, stops: int, bad: int) -> Figure:
    value = f"{stops} stopped with 5 and resumed, {bad} badly"
    return Figure("S01", what, stops, bad, value, "0", bad == 0)


CASES: dict[str, list[Callable[[], Figure]]] = {
    "limit": [limited_file],
    "tmpfs": [full_tmpfs],
    "read-only": [read_only],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.full_disk", CASES)


if __name__ == "__main__":
    main()
