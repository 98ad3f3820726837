"""C05: the output of a killed run, cut at every byte of its end, and resumed each time.

`python -m tests.reliability.torn_output` prints a table. The output of a run that was killed is
`OUT.partial`: a power loss or a full disk may tear it anywhere.
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson

from tests.reliability.figures import Figure, run_cases
from tests.reliability.ledger import arrivals, key_of_row
from tests.reliability.watched import WatchedJob, jobs_at_a_server

SIDE_BY_SIDE = 2
KEPT = ("out.jsonl.partial", "out.jsonl.job.json", "out.jsonl.lock")


def c05(cuts: Sequence[int] = range(1, 301), rows: int = 12) -> Figure:
    """Cut so many bytes off, resume; only the rows of the torn lines are asked, and once."""
    with jobs_at_a_server() as make:
        killed = killed_at_the_end(make(rows, "--cache", "off"))
        parts = [cuts[start::SIDE_BY_SIDE] for start in range(SIDE_BY_SIDE)]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
            bad = sum(threads.map(lambda part: resumed_badly(killed, part), parts))
    value = f"{len(cuts) - bad} of {len(cuts)} resumed right"
    return Figure(
        "C05", f"cut at {cuts[0]} to {cuts[-1]} bytes", len(cuts), bad, value, "all", not bad
    )


def killed_at_the_end(job: WatchedJob) -> WatchedJob:
    """Let a job run until all is answered and nothing is put together."""
    point = "before the final rename"
    job.end(job.start(program=("tests.reliability.failpoints", point, "1")))
    job.news()
    assert job.partial.read_bytes().count(b"\n") == job.rows, "not killed where it should be"
    return job


def resumed_badly(killed: WatchedJob, cuts: Sequence[int]) -> int:
    """Resume a copy of a job for each cut, against a server of one's own; count what goes wrong."""
    bad = 0
    with jobs_at_a_server() as make:
        for cut in cuts:
            job = make(killed.rows, "--cache", "off")
            copy_of(killed, job)
            whole = job.partial.read_bytes()
            job.partial.write_bytes(whole[:-cut])
            code, _ = job.run()
            asked = sorted(arrivals(job.news()))
            right = code == 0 and asked == sorted(torn(whole, cut)) and job.wrong() == 0
            bad += not right
    return bad


def copy_of(killed: WatchedJob, job: WatchedJob) -> None:
    """Give a new job the files of one that was killed."""
    for name in KEPT:
        if (killed.folder / name).exists():
            shutil.copy2(killed.folder / name, job.folder / name)


def torn(whole: bytes, cut: int) -> list[str]:
    """Return the keys of the rows whose line is not whole after a cut."""
    kept = whole[:-cut].count(b"\n")
    return [key_of_row(orjson.loads(line)["index"]) for line in whole.splitlines()[kept:]]


CASES: dict[str, list[Callable[[], Figure]]] = {"C05": [c05]}


def main() -> None:
    """Run the case; exit 1 when a goal is not met."""
    run_cases("tests.reliability.torn_output", CASES)


if __name__ == "__main__":
    main()
