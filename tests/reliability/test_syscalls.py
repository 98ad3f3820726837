"""The order of fsync and rename: what strace saw is read right, and nothing is done too early."""

from pathlib import Path

import pytest

from tests.reliability.figures import Shows
from tests.reliability.syscalls import Done, has_strace, order, out_of_order, steps_in

FOLDER = Path("/job")
PARTIAL, STAGED, OUT = "/job/out.jsonl.partial", "/job/out.jsonl.tmp", "/job/out.jsonl"
RIGHT = [
    Done("sync", PARTIAL),
    Done("sync", STAGED),
    Done("rename", STAGED, OUT),
    Done("sync", "/job"),
    Done("unlink", PARTIAL),
]


def test_steps_are_read_in_the_order_in_which_they_were_done() -> None:
    trace = [
        "12 fsync(7</job/out.jsonl.partial> <unfinished ...>",
        '11 rename("out.jsonl.tmp", "out.jsonl") = 0',
        "12 <... fsync resumed>)            = 0",
        '11 unlink("nothing") = -1 ENOENT (No such file or directory)',
        '11 unlink("/job/out.jsonl.partial") = 0',
        "11 +++ exited with 0 +++",
    ]
    assert list(steps_in(trace, FOLDER)) == [
        Done("rename", STAGED, OUT),
        Done("sync", PARTIAL),
        Done("unlink", PARTIAL),
    ]


def test_the_right_order_is_right() -> None:
    assert out_of_order(RIGHT, FOLDER) == []


@pytest.mark.parametrize("missing", range(4))
def test_without_one_of_the_steps_something_is_too_early(missing: int) -> None:
    steps = [step for number, step in enumerate(RIGHT) if number != missing]
    assert bool(out_of_order(steps, FOLDER)) == (RIGHT[missing].what == "sync")


@pytest.mark.campaign
def test_files_are_synced_before_they_are_renamed_and_folders_after(shows: Shows) -> None:
    if not has_strace():
        pytest.skip("there is no strace, or it may not be used")
    shows(order())
