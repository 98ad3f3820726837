"""C06: input, settings or output changed between two runs; and C07: two processes at once.

`python -m tests.reliability.tampering [CASE ...]` prints a table. What was changed is refused by
name before anything is sent, or made good; it is never silently taken as done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.reliability.figures import Figure, run_cases
from tests.reliability.ledger import arrivals
from tests.reliability.torn_output import killed_at_the_end
from tests.reliability.watched import Running, WatchedJob, jobs_at_a_server

ROWS = 12
PROMPTS, OUT, MANIFEST = "prompts.jsonl", "out.jsonl", "out.jsonl.job.json"
PARTIAL, LOCK = "out.jsonl.partial", "out.jsonl.lock"


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody does between two runs, and what has to become of it."""

    what: str
    does: Callable[[Path], object] = lambda folder: None
    options: Sequence[object] = ()  # of the second run
    refused: str = ""  # what the refusal says; empty: it goes on
    asks: int = 0  # rows, where it goes on


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Return what changes the content of a file."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def remove(*names: str) -> Callable[[Path], object]:
    """Return what removes files."""

    def do(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return do


def _first_line_again(content: bytes) -> bytes:
    return content + content[: content.index(b"\n") + 1]


def _without_first_brace(content: bytes) -> bytes:
    return content[1:]


SETTINGS = [
    Change("another model", options=("--model", "openai/other"), refused="model was"),
    Change("another temperature", options=("--temperature", 0.5), refused="temperature was"),
    Change("another bound", options=("--max-tokens", 9), refused="max_tokens was"),
    Change("another system prompt", options=("--system", "Be brief."), refused="system was"),
    Change("another template", options=("--template", "{prompt}!"), refused="template was"),
    Change("another seed", options=("--seed", 2), refused="seed was"),
    Change("another parameter", options=("--param", "top_k=3"), refused="param was"),
    Change("another shape", options=("--output-format", "openai-batch"), refused="output_format"),
]

INPUT = [
    Change("a row edited", edit(PROMPTS, lambda b: b.replace(b"plus", b"less", 1)), (), PROMPTS),
    Change("a row more", edit(PROMPTS, lambda b: b + b'{"prompt":"One more?"}\n'), (), PROMPTS),
    Change("a row less", edit(PROMPTS, lambda b: b[b.index(b"\n") + 1 :]), (), PROMPTS),
    Change(
        "rows swapped", edit(PROMPTS, lambda b: b"".join(b.splitlines(True)[::-1])), (), PROMPTS
    ),
]

OF_FINISHED = [
    Change("nothing"),
    Change("a byte of the output", edit(OUT, lambda b: b.replace(b"A:", b"B:", 1)), (), OUT),
    Change("the output cut", edit(OUT, lambda b: b[:-40]), (), OUT),
    Change("a line of the output twice", edit(OUT, _first_line_again), (), OUT),
    Change("the output empty", edit(OUT, lambda b: b""), (), OUT),
    Change("the output gone", remove(OUT), asks=ROWS),
    Change("output and job file gone", remove(OUT, MANIFEST), asks=ROWS),
    Change("the job file gone", remove(MANIFEST), (), "not part of a job"),
    Change("the job file cut", edit(MANIFEST, lambda b: b[:-9]), (), "is damaged"),
]

OF_KILLED = [
    Change("nothing"),
    Change("the partial output gone", remove(PARTIAL), asks=ROWS),
    Change("a line of it damaged", edit(PARTIAL, _without_first_brace), asks=1),
    Change("a line of it twice", edit(PARTIAL, _first_line_again)),
    Change("garbage behind it", edit(PARTIAL, lambda b: b + b'\0{"index":3,"output":"x"')),
    Change("zeros behind it", edit(PARTIAL, lambda b: b + bytes(4096))),
    Change("garbage in the lock", edit(LOCK, lambda b: b"garbage"), (), "not a lock of llmscale"),
    Change("the job file gone", remove(MANIFEST), (), "not part of a job"),
    Change("the job file empty", edit(MANIFEST, lambda b: b""), (), "is damaged"),
]

QUICK = [INPUT[0], SETTINGS[0], OF_FINISHED[1], OF_FINISHED[5]]
"""Input changed, settings changed, output edited, output gone."""


def c06(state: str, changes: Sequence[Change]) -> Figure:
    """Make a job, change something, give the same command again."""
    bad = refused = 0
    with jobs_at_a_server() as make:
        for change in changes:
            job = make(ROWS, "--cache", "off")
            if state == "finished":
                assert job.run()[0] == 0
                job.news()
            else:
                killed_at_the_end(job)
            found = _refused_badly(job, change) if change.refused else _went_badly(job, change)
            for complaint in found:
                print(f"{state} job, {change.what}: {complaint}")
            bad += bool(found)
            refused += bool(change.refused)
    value = f"{refused} refused by name, {len(changes) - refused} made good"
    return Figure("C06", f"changes to a {state} job", len(changes), bad, value, "all", bad == 0)


def _refused_badly(job: WatchedJob, change: Change) -> list[str]:
    """Return what is wrong with a refusal: code, words, calls, files that it has touched."""
    change.does(job.folder)
    before = _content(job.folder)
    code, said = job.run(*change.options)
    found = []
    if code != 2 or change.refused not in said:
        found.append(f"exit code {code}, it said {said}")
    if calls := arrivals(job.news()):
        found.append(f"{len(calls)} calls")
    if _content(job.folder) != before:
        found.append("files have changed")
    return found + job.complaints


def _went_badly(job: WatchedJob, change: Change) -> list[str]:
    """Return what is wrong with a run that has to end well: code, rows, calls."""
    change.does(job.folder)
    code, said = job.run(*change.options)
    found = []
    if code:
        found.append(f"exit code {code}, it said {said}")
    if (calls := len(arrivals(job.news()))) != change.asks:
        found.append(f"{calls} calls instead of {change.asks}")
    if job.wrong():
        found.append(f"{job.verdict()}, {job.complaints}")
    return found


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def c07(races: int = 20, rows: int = 40) -> Figure:
    """Two start the same job at the same moment; one runs, the other names it. Then a kill."""
    bad = 0
    with jobs_at_a_server("--latency", 0.05) as make:
        for _ in range(races):
            job = make(rows, "--cache", "off", "--concurrency", 8)
            racing = [job.start(), job.start()]
            ended = _first_to_end(racing)
            winner = racing[1 - racing.index(ended)]
            told = f"process {winner.process.pid} is running this job" in ended.said
            bad += not (job.end(ended) == 6 and told and winner.is_running)
            job.kill(winner)
            job.news()
            code, _ = job.run()  # the lock is free, though nobody has given it back
            job.news()
            bad += (code != 0) + job.wrong()
    value = f"{races} told by whom, and free after a kill"
    return Figure("C07", "two processes at once", races, bad, value, "0", bad == 0)


def _first_to_end(racing: Sequence[Running]) -> Running:
    racing[0].until(lambda: not racing[1].is_running)
    return next(running for running in racing if not running.is_running)


CASES: dict[str, list[Callable[[], Figure]]] = {
    "C06": [
        partial(c06, "finished", [*INPUT, *SETTINGS, *OF_FINISHED]),
        partial(c06, "killed", [*INPUT, *SETTINGS, *OF_KILLED]),
    ],
    "C07": [c07],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.tampering", CASES)


if __name__ == "__main__":
    main()
