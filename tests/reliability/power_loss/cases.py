"""Power is lost at any moment of a run: `python -m tests.reliability.power_loss.cases`.

Each state that the disk may be left in is resumed from with the same command. Nothing is wrong,
nothing is refused, and no row is asked again that was on the disk for sure.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from tests.cli.tool import environment
from tests.reliability.figures import Figure, run_cases
from tests.reliability.power_loss import disk
from tests.reliability.power_loss.disk import Keep, State, state_after
from tests.reliability.power_loss.operations import Operation, Write
from tests.reliability.power_loss.trace import traced
from tests.servers.chat import ROOT

ROWS = 200
MODEL = "sim/latency=0.05"  # at four at a time a run takes 2.5 s, and is synced in between
OUT, PARTIAL = "out.jsonl", "out.jsonl.partial"
USUAL: Mapping[str, Keep] = {
    "all of it is lost": disk.nothing,
    "all of it is there": disk.everything,
    "names without data": disk.names,
    "data without names": disk.data,
}


@dataclass(frozen=True, slots=True)
class Loss:
    """A moment, and what the disk kept of what was not synced."""

    after: int  # operations
    what: str
    keep: Keep


def command(cache: str, concurrency: int) -> list[str]:
    """Return the command of the job. How many rows are in flight may differ from run to run."""
    options = ["--cache", cache, "--cache-dir", "cache", "--concurrency", str(concurrency)]
    return ["run", "in.jsonl", "-m", MODEL, "-o", OUT, *options]


def losses(done: Sequence[Operation], count: int, seed: int) -> Iterator[Loss]:
    """Yield losses: all kinds around everything that is no write, then drawn ones."""
    rng = random.Random(seed)
    edges = [n for n, one in enumerate(done) if not isinstance(one, Write)]
    moments = sorted({n + step for n in edges for step in (0, 1)})
    found = [Loss(after, what, keep) for after in moments for what, keep in USUAL.items()]
    rng.shuffle(found)
    drawn = (Loss(rng.randrange(len(done) + 1), "some", disk.some(n)) for n in range(count))
    yield from found[: count // 2]
    yield from (loss for loss, _ in zip(drawn, range(count - count // 2), strict=False))


def power(cache: str = "off", count: int = 300, seed: int = 1) -> Figure:
    """Lose the power `count` times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "job")
        folder.mkdir()
        rows = "".join(f'{{"prompt": "row {n}"}}\n' for n in range(ROWS))
        (folder / "in.jsonl").write_text(rows)
        done = traced(command(cache, 4), folder)
        right = _answers(folder)
        bad = 0
        for number, loss in enumerate(losses(done, count, seed)):
            again = Path(name, f"again{number}")
            complaint = _resumed(done[: loss.after], loss, folder, again, cache, right)
            if complaint is not None:
                bad += 1
                print(f"after {loss.after}, {loss.what}: {complaint}", file=sys.stderr)
    what = f"power lost, cache {cache}"
    value = f"{len(done)} operations, {bad} wrong, refused or asked again"
    return Figure("power", what, count, bad, value, "0", bad == 0)


def _resumed(
    done: Sequence[Operation],
    loss: Loss,
    folder: Path,
    again: Path,
    cache: str,
    right: Sequence[str],
) -> str | None:
    """Run the command on what is left; return what is wrong with that, None if nothing is."""
    again.mkdir()
    (again / "in.jsonl").write_bytes((folder / "in.jsonl").read_bytes())
    _put(state_after(done, loss.keep), folder, again)
    ended = subprocess.run(
        [sys.executable, "-m", "llmscale", *command(cache, ROWS)],
        cwd=again,
        env=environment(PYTHONPATH=str(ROOT)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ended.returncode != 0:
        return f"exit code {ended.returncode}: {ended.stderr.strip().splitlines()[-1]}"
    if _answers(again) != right:
        return "the answers are wrong"
    report = orjson.loads((again / "out.report.json").read_bytes())
    asked = 0 if "nothing to do" in ended.stderr else report["calls"]["attempts"]
    safe = safe_rows(state_after(done, disk.names), folder)
    return f"{asked} rows were asked and {safe} were safe" if asked > ROWS - safe else None


def safe_rows(state: State, folder: Path) -> int:
    """Return how many rows were synced, by the names that they had."""
    if str(folder / OUT) in state:
        return ROWS
    lines = state.get(str(folder / PARTIAL), b"").split(b"\n")[:-1]
    return len({orjson.loads(line)["index"] for line in lines})


def _put(state: State, folder: Path, again: Path) -> None:
    for name, content in state.items():
        path = again / Path(name).relative_to(folder)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)


def _answers(folder: Path) -> list[str]:
    return [orjson.loads(line)["output"] for line in (folder / OUT).read_bytes().splitlines()]


CASES: dict[str, list[Callable[[], Figure]]] = {
    "power": [partial(power, "off"), partial(power, "on")]
}

if __name__ == "__main__":
    run_cases("tests.reliability.power_loss.cases", CASES)
