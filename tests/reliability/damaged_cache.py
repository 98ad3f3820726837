"""S02: a cache whose file was damaged, or changed by somebody else: a miss, counted, never wrong.

`python -m tests.reliability.damaged_cache [CASE ...]` prints a table. A first run fills a cache;
each damage is done to a copy of it, and a further job asks the same. The ledger tells how many rows
were paid for anew, the output whether any is wrong.
"""

import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import orjson

from tests.reliability.figures import Figure, run_cases
from tests.reliability.ledger import arrivals
from tests.reliability.watched import WatchedJob, jobs_at_a_server

CACHE = ("--cache", "on", "--cache-dir", "cache")
DATABASE = "cache.db"
SHARE = 5  # a row in so many is damaged

Damage = Callable[[Path, Random], int | None]
"""Damages a cache and returns how many entries; None: nobody can tell."""


def in_rows(change: Callable[[bytes, bytes], bytes], columns: str = "") -> Damage:
    """Return what changes a fifth of the values, each given its neighbour's."""

    def damage(cache: Path, rng: Random) -> int:
        with closing(sqlite3.connect(cache / DATABASE)) as database, database:
            found = database.execute("SELECT rowid, value FROM Cache").fetchall()
            chosen = rng.sample(found, len(found) // SHARE)
            for (row, value), (_, other) in zip(chosen, chosen[1:] + chosen[:1], strict=True):
                statement = f"UPDATE Cache SET value = ? {columns} WHERE rowid = ?"
                database.execute(statement, (change(value, other), row))
        return len(chosen)

    return damage


def by_sql(*statements: str) -> Damage:
    """Return what does something to the database."""

    def damage(cache: Path, rng: Random) -> None:
        with closing(sqlite3.connect(cache / DATABASE)) as database, database:
            for statement in statements:
                database.execute(statement)

    return damage


def in_bytes(change: Callable[[bytearray, Random], bytes]) -> Damage:
    """Return what changes the bytes of the file."""

    def damage(cache: Path, rng: Random) -> None:
        for name in ("-wal", "-shm"):
            (cache / (DATABASE + name)).unlink(missing_ok=True)
        file = cache / DATABASE
        file.write_bytes(change(bytearray(file.read_bytes()), rng))

    return damage


def _one_byte(value: bytes, other: bytes) -> bytes:
    middle = len(value) // 2
    return value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]


def _scattered(content: bytearray, rng: Random) -> bytes:
    for _ in range(200):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def _pages_swapped(content: bytearray, rng: Random) -> bytes:
    pages = [bytes(content[at : at + 4096]) for at in range(0, len(content), 4096)]
    first, *rest = pages
    rng.shuffle(rest)
    return b"".join([first, *rest])


@dataclass(frozen=True, slots=True)
class Case:
    """A damage and its name."""

    what: str
    damage: Damage


VALUES = [
    Case("values swapped", in_rows(lambda value, other: other)),
    Case("a byte changed", in_rows(_one_byte)),
    Case("another version", in_rows(lambda value, other: bytes([value[0] + 1]) + value[1:])),
    Case("cut", in_rows(lambda value, other: value[: len(value) // 2])),
    Case("planted pickles", in_rows(lambda value, other: pickle.dumps("x"), ", mode = 4")),
    Case("file names", in_rows(lambda value, other: value, ", filename = 'x', mode = 2")),
]

FILES = [
    Case("bytes scattered", in_bytes(_scattered)),
    Case("pages shuffled", in_bytes(_pages_swapped)),
    Case("cut in half", in_bytes(lambda content, rng: bytes(content[: len(content) // 2]))),
    Case("random bytes", in_bytes(lambda content, rng: rng.randbytes(len(content)))),
    Case("empty", in_bytes(lambda content, rng: b"")),
    Case("no table", by_sql("DROP TABLE Cache")),
    Case("no settings", by_sql("DELETE FROM Settings")),
    Case("another schema", by_sql("ALTER TABLE Cache RENAME COLUMN value TO content")),
    Case("another table", by_sql("DROP TABLE Cache", "CREATE TABLE Cache (key, value)")),
]


def s02(case: Case, rows: int = 1_000, seed: int = 1) -> Figure:
    """Fill a cache, damage a copy of it, and ask the same again."""
    with jobs_at_a_server() as make:
        first, job = make(rows, *CACHE), make(rows, *CACHE)
        code, said = first.run()
        assert (code, len(arrivals(first.news()))) == (0, rows), said
        cache = shutil.copytree(first.folder / "cache", job.folder / "cache")
        return judged(case, job, case.damage(cache, Random(seed)))


def judged(case: Case, job: WatchedJob, damaged: int | None) -> Figure:
    """Run a job over a damaged cache: what was damaged is asked, and nothing else is wrong."""
    code, said = job.run()
    calls = len(arrivals(job.news()))
    bad = job.wrong() + (code != 0)
    if bad:
        print(f"{case.what}: exit code {code}, it said {said}")
    if damaged is not None:
        report = orjson.loads((job.folder / "out.report.json").read_bytes())
        bad += (calls != damaged) + (report["cache"]["refused"] != damaged)
    known = "?" if damaged is None else f"{damaged:,}"
    value = f"{calls:,} of {job.rows:,} asked, {known} damaged"
    return Figure("S02", case.what, job.rows, bad, value, "0 wrong, exit 0", bad == 0)


CASES: dict[str, list[Callable[[], Figure]]] = {
    "values": [partial(s02, case) for case in VALUES],
    "files": [partial(s02, case) for case in FILES],
}


def main() -> None:
    """Run the cases that are named, or all; exit 1 when a goal is not met."""
    run_cases("tests.reliability.damaged_cache", CASES)


if __name__ == "__main__":
    main()
