"""Greedy users and many users (K03): who gets which share, and what it costs in memory.

`python -m tests.reliability.users [CASE ...]` prints a table. Shares are measured on a virtual
clock with the real feed, queue and limits, and with the tool itself by the order in which its rows
end; memory is that of the tool, with a simulated model.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import orjson

from llmscale.config import UserLimit
from llmscale.core.records import Outcome, Row
from llmscale.engine.feed.user_feed import UserFeed
from tests.benchmarks.jobs import environment, program, read_lines
from tests.benchmarks.paired import Sample, run_command
from tests.engine.feed import Input, Workers, answered, limits_of, rows_of_users
from tests.reliability.figures import Figure, run_cases
from tests.virtual_time import virtually

GREEDY, OTHERS = "greedy", tuple(f"user {number}" for number in range(9))
SHARE = 0.9  # of the fair share, that each of the others is to get


def users_of(rows: int) -> list[str | None]:
    """Return the user of each row: 90 % of one in front, then nine in turn."""
    greedy = rows * 9 // 10
    return [GREEDY if n < greedy else OTHERS[n % len(OTHERS)] for n in range(rows)]


def share_under_limits(rows: int = 10_000, rpm: int = 60) -> Figure:
    """The limits of the users bind; the fair share of each is its limit."""

    def share_of(times_s: Sequence[float]) -> float:
        return (len(times_s) - 1) / ((times_s[-1] or 1) * rpm / 60)

    workers = _worked(rows, UserLimit(rpm=rpm), width=64)
    share = min(share_of(workers.times_s(user)) for user in OTHERS)
    what = f"{rows:,} rows, {rpm} RPM a user"
    return _share_figure(what, rows, _missing(workers, rows), share)


def share_of_the_width(rows: int = 10_000, width: int = 10) -> Figure:
    """The width binds; the fair share of each is that of all who have rows."""
    workers = _worked(rows, UserLimit(rpm=6e6), width=width)
    order = [row.user for _, row in workers.taken]
    what = f"{rows:,} rows, {width} in flight"
    return _share_figure(what, rows, _missing(workers, rows), _share_in(order))


def _worked(rows: int, limit: UserLimit, width: int) -> Workers:
    """Work the rows on a virtual clock, a second each, to the last of those who are not greedy."""
    file = Input(rows_of_users(users_of(rows)), block_rows=2_000)
    feed = UserFeed(file.read, limits_of(limit), rows)
    left = iter(range(rows - rows * 9 // 10 - 1))

    def ended(row: Row) -> Outcome:
        if row.user != GREEDY and next(left, None) is None:
            feed.stop()
        return answered(row)

    workers = Workers(feed, ended)

    async def play() -> None:
        await workers.run(width)

    virtually(play)
    return workers


def _missing(workers: Workers, rows: int) -> int:
    """Return the rows of the others that were not taken up, or twice."""
    taken = Counter(row.index for _, row in workers.taken if row.user != GREEDY)
    return sum(taken[index] != 1 for index in range(rows * 9 // 10, rows))


def _share_in(order: Sequence[str | None]) -> float:
    """Return the least share that one of the others has had while it had rows."""
    places = defaultdict(list)
    for place, user in enumerate(order, start=1):
        places[user].append(place)
    users = len(places)
    return min(len(places[user]) / (places[user][-1] / users) for user in OTHERS)


def _share_figure(what: str, rows: int, bad: int, share: float) -> Figure:
    value = f"{share:.1%} of its fair share for the least of {len(OTHERS)}"
    met = share >= SHARE and bad == 0
    return Figure("K03", what, rows, bad, value, f">= {SHARE:.0%}, 0", met)


def share_in_the_tool(rows: int = 50_000) -> Figure:
    """The tool with 64 in flight and 640 rows/s, by the order in which rows end. What the others
    lack is the time in which the rows in front of theirs are read.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        users = users_of(rows)
        _run(folder, users, "sim/latency=0.1", UserLimit(rpm=6e6))
        order = [users[line["index"]] for line in read_lines(folder / "out.jsonl")]
    missing = rows - len(order)
    return _share_figure(f"the tool, {rows:,} rows", rows, missing, _share_in(order))


def memory(rows: int, limit: UserLimit, most_mb: float, *, greedy: bool = False) -> Figure:
    """Peak memory of the tool over that at 10,000 rows: each row of another user, or all but a few
    of one.
    """
    peaks_mb, lost = [], 0
    for count in (10_000, rows):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            users = _one_and_nine(count) if greedy else (f"user {n}" for n in range(count))
            sample = _run(folder, users, "sim/latency=0.001", limit)
            peaks_mb.append(sample.peak_bytes / 1e6)
            lost = count - sum(line["error"] is None for line in read_lines(folder / "out.jsonl"))
    more_mb = peaks_mb[1] - peaks_mb[0]
    limited = "RPM" if limit.tpm is None else "RPM and TPM"
    what = f"{rows:,} {'rows of a greedy user' if greedy else 'users'}, {limited}"
    value = f"peak {peaks_mb[1]:.0f} MB, {more_mb:+.0f} MB, {rows / sample.wall_s:,.0f} rows/s"
    met = more_mb <= most_mb and lost == 0
    return Figure("K03", what, rows, lost, value, f"<= +{most_mb:g} MB, 0", met)


def _one_and_nine(rows: int) -> Iterator[str]:
    for number in range(rows):
        yield GREEDY if number < rows - len(OTHERS) else OTHERS[number - rows]


def _run(
    folder: Path, users: Iterator[str] | Sequence[str | None], model: str, limit: UserLimit
) -> Sample:
    """Run a row for each of the users, in that order, into `out.jsonl`, in order of completion."""
    with (folder / "in.jsonl").open("wb") as file:
        for number, user in enumerate(users):
            row = {"prompt": f"Question {number}", "max_tokens": 20, "user": user}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    tpm = "" if limit.tpm is None else f"tpm = {limit.tpm}\n"
    settings = f'model = "{model}"\nconcurrency = 64\n[limits.user]\nrpm = {limit.rpm}\n{tpm}'
    (folder / "llmscale.toml").write_text(settings)
    shell = f"{program()} run in.jsonl -o - --quiet > out.jsonl"
    return run_command(["/bin/sh", "-c", f"exec {shell}"], cwd=folder, env=environment(folder))


CASES: dict[str, list[Callable[[], Figure]]] = {
    "share": [
        share_under_limits,
        partial(share_under_limits, 100_000),
        share_of_the_width,
        partial(share_of_the_width, 100_000, 64),
    ],
    "tool": [share_in_the_tool],
    "memory": [
        partial(memory, 1_000_000, UserLimit(rpm=60), 50),
        # half a kilobyte a user whose tokens are not all back: those of the last minute, so the
        # faster the machine, the nearer to all of them
        partial(memory, 1_000_000, UserLimit(rpm=60, tpm=100_000), 500),
        partial(memory, 1_000_000, UserLimit(rpm=6e6), 50, greedy=True),
    ],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.users", CASES)


if __name__ == "__main__":
    main()
