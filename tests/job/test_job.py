"""The promise: no finished row is lost or duplicated when the process dies, and a call is paid
again only if it was in flight at that moment, and counted.
"""

import errno
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest

from llmscale.accounting.stats import Spend
from llmscale.core.choices import OutputFormat
from llmscale.core.errors import ConfigError, LockedError, StorageError
from llmscale.core.output_line import encode, line_of, to_batch
from llmscale.job import manifest as manifests
from llmscale.job.job import Job
from llmscale.job.job_paths import JobPaths
from llmscale.job.manifest import Manifest
from tests.job import (
    ONE_CALL,
    ROWS,
    FileOperations,
    Killed,
    Run,
    content_of,
    copy_of,
    identity,
    lines_of,
    outcome,
)

FORMATS: list[OutputFormat] = ["llmscale", "openai-batch"]
both_formats = pytest.mark.parametrize("output_format", FORMATS)

FINISHED = {"out.jsonl", "out.jsonl.job.json"}


@pytest.fixture(autouse=True)
def operations(monkeypatch: pytest.MonkeyPatch) -> FileOperations:
    return FileOperations(monkeypatch)


def manifest_in(folder: Path) -> Manifest:
    found = manifests.load(folder / "out.jsonl.job.json")
    assert found is not None
    return found


def expected(
    output_format: OutputFormat = "llmscale", rows: int = ROWS, failing: tuple[int, ...] = ()
) -> bytes:
    """Return the one right output."""
    lines = (line_of(outcome(index, failed=index in failing)) for index in range(rows))
    return b"".join(encode(line, output_format) for line in lines)


def output_in(folder: Path) -> bytes:
    return (folder / "out.jsonl").read_bytes()


def calls(count: int) -> Spend:
    return Spend(count, 10 * count, 20 * count, 0.5 * count)


@both_formats
def test_a_job_that_nothing_interrupts(output_format: OutputFormat, folder: Path) -> None:
    run = Run(folder, output_format=output_format).to_the_end()
    assert run.asked == [4, 3, 2, 1, 0]
    assert output_in(folder) == expected(output_format), "in input order"
    assert content_of(folder).keys() == FINISHED
    found = manifest_in(folder)
    assert (found.state, found.answered, found.failed, found.runs) == ("finished", ROWS, 0, 1)
    assert (found.spend, found.max_repeated_calls) == (calls(ROWS), 0)
    assert (found.next_output_sha256, found.replaced_sha256) == (None, None)


def test_a_job_without_rows_has_an_empty_output(folder: Path) -> None:
    Run(folder, rows=0).to_the_end()
    assert output_in(folder) == b""
    assert content_of(folder).keys() == FINISHED


def test_a_finished_job_is_known_as_such_and_left_alone(folder: Path) -> None:
    Run(folder).to_the_end()
    before = content_of(folder)
    assert Run(folder).to_the_end().asked == []
    assert content_of(folder) == before


def test_a_stopped_job_resumes_where_it_was(folder: Path) -> None:
    with Run(folder).up_to_the_end(most=2):
        pass
    assert content_of(folder).keys() == {"out.jsonl.partial", "out.jsonl.job.json"}
    assert Run(folder).to_the_end().asked == [2, 1, 0]
    assert output_in(folder) == expected()
    found = manifest_in(folder)
    assert (found.runs, found.spend, found.max_repeated_calls) == (2, calls(ROWS), 0)


def test_while_it_runs_the_spend_of_all_runs_is_known(folder: Path) -> None:
    with Run(folder).up_to_the_end(most=2) as job:
        assert job.spend(calls(2)) == calls(2)
    with Run(folder).up_to_the_end(most=0) as job:
        assert job.spend(Spend()) == calls(2)
    with Run(folder).up_to_the_end(most=1) as job:
        assert job.spend(calls(1)) == calls(3)


# --- killed


def resumed(folder: Path, **settings: Any) -> Run:
    """Run the same command again, with --overwrite again where the kill came before all else."""
    try:
        return Run(folder, **settings).to_the_end()
    except ConfigError:
        return Run(folder, **settings, overwrite=True).to_the_end()


def every_death(
    folder: Path, operations: FileOperations, *, tears: bool, **settings: Any
) -> list[tuple[str, Run, Path]]:
    """Let a run die before each of its operations; return each with the dead run and its folder."""
    operations.kill_before(None)
    Run(copy_of(folder, "whole"), **settings).to_the_end()
    names = list(operations.names)
    deaths = []
    for number, name in enumerate(names):
        if tears and name != "write":
            continue
        place = copy_of(folder, f"death {number}")
        run = Run(place, **settings)
        operations.kill_before(number, tears=tears)
        with pytest.raises(Killed):
            run.to_the_end()
        operations.kill_before(None)
        deaths.append((f"{number} {name}", run, place))
    return deaths


@pytest.mark.parametrize("tears", [False, True])
@both_formats
def test_a_kill_at_any_moment_leaves_a_job_that_ends_as_if_there_had_been_none(
    output_format: OutputFormat, tears: bool, folder: Path, operations: FileOperations
) -> None:
    deaths = every_death(folder, operations, tears=tears, output_format=output_format)
    assert len(deaths) >= (ROWS if tears else 20)
    for when, dead, place in deaths:
        again = Run(place, output_format=output_format).to_the_end()
        assert output_in(place) == expected(output_format), when
        assert content_of(place).keys() == FINISHED, when
        found = manifest_in(place)
        assert (found.state, found.answered, found.spend) == ("finished", ROWS, calls(ROWS)), when
        twice = set(dead.asked) & set(again.asked)
        assert len(twice) <= found.max_repeated_calls <= 1, when
        assert len(dead.asked) + len(again.asked) == ROWS + len(twice), when


@both_formats
def test_a_kill_while_failed_rows_are_retried_costs_no_answer(
    output_format: OutputFormat, folder: Path, operations: FileOperations
) -> None:
    Run(folder, output_format=output_format, failing=(1, 3)).to_the_end()
    for when, _, place in every_death(folder, operations, tears=False, output_format=output_format):
        again = Run(place, output_format=output_format).to_the_end()
        assert set(again.asked) <= {1, 3}, when
        assert output_in(place) == expected(output_format), when
        assert content_of(place).keys() == FINISHED, when
        assert manifest_in(place).spend == calls(ROWS) + Spend(attempts=2), when


def test_a_kill_while_a_job_grows_costs_no_answer(folder: Path, operations: FileOperations) -> None:
    Run(folder, rows=2, is_same=identity(limit=2)).to_the_end()
    for when, dead, place in every_death(folder, operations, tears=False):
        again = Run(place).to_the_end()
        assert not set(dead.asked + again.asked) & {0, 1}, when
        assert output_in(place) == expected(), when
        assert manifest_in(place).spend == calls(ROWS), when


def test_a_job_that_was_killed_at_its_end_may_still_grow_at_its_true_cost(
    folder: Path, operations: FileOperations
) -> None:
    """What is in the manifest's spend must not be counted once more from a left-over journal."""
    limited = {"rows": 2, "is_same": identity(limit=2)}
    for when, _, place in every_death(folder, operations, tears=False, **limited):
        Run(place).to_the_end()
        assert output_in(place) == expected(), when
        assert manifest_in(place).spend == calls(ROWS), when


@pytest.mark.parametrize("before", ["nobody's", "another job's", "the same job's"])
def test_a_kill_while_an_output_is_replaced_leaves_the_old_or_the_new_one(
    before: str, folder: Path, operations: FileOperations
) -> None:
    if before == "nobody's":
        (folder / "out.jsonl").write_bytes(b"old")
    elif before == "another job's":
        Run(folder, rows=2, is_same=identity(model="sim/old")).to_the_end()
    else:
        Run(folder, failing=(1, 2)).to_the_end()
    old = output_in(folder)
    for when, dead, place in every_death(folder, operations, tears=False, overwrite=True):
        assert output_in(place) in (old, expected()), when
        again = resumed(place)
        assert output_in(place) == expected(), when
        assert content_of(place).keys() == FINISHED, when
        assert len(set(dead.asked) & set(again.asked)) <= 1, when


@pytest.mark.parametrize("seed", range(20))
def test_kills_five_deep_repeat_no_finished_row(
    seed: int, folder: Path, operations: FileOperations
) -> None:
    rng = random.Random(seed)
    asked: list[int] = []
    deaths = 0
    for _ in range(5):
        run = Run(folder)
        operations.kill_before(rng.randrange(25), tears=rng.random() < 0.5)
        try:
            run.to_the_end()
        except Killed:
            deaths += 1
        asked += run.asked
    operations.kill_before(None)
    asked += Run(folder).to_the_end().asked
    assert output_in(folder) == expected()
    assert content_of(folder).keys() == FINISHED
    found = manifest_in(folder)
    assert len(asked) - ROWS <= found.max_repeated_calls <= deaths
    assert found.spend == calls(ROWS)


def killed(folder: Path, *, in_flight: int, put_back: int = 0, answered: int = 0) -> None:
    """Let a run die with rows in flight."""
    try:
        with Run(folder).up_to_the_end(most=answered) as job:
            for _ in range(in_flight):
                job.take_up(1)
            for _ in range(put_back):
                job.put_back()
            raise Killed
    except Killed:
        pass


def test_rows_in_flight_at_a_kill_are_counted_once_over_all_runs(folder: Path) -> None:
    for rows_in_flight in (3, 2):
        killed(folder, in_flight=rows_in_flight)
    with Run(folder).up_to_the_end(most=1):
        pass
    Run(folder).to_the_end()
    assert manifest_in(folder).max_repeated_calls == 5


def test_rows_in_flight_at_a_kill_are_not_forgotten_by_a_run_that_is_refused(folder: Path) -> None:
    killed(folder, in_flight=1)
    with pytest.raises(ConfigError):
        Run(folder, is_same=identity(model="sim/b")).to_the_end()
    with pytest.raises(ConfigError):
        Run(folder, rows=ROWS - 1).to_the_end()
    Run(folder).to_the_end()
    assert manifest_in(folder).max_repeated_calls == 1


def test_a_row_that_is_put_back_was_not_in_flight(folder: Path) -> None:
    killed(folder, in_flight=2, put_back=1)
    Run(folder).to_the_end()
    assert manifest_in(folder).max_repeated_calls == 1


# --- changed in between: refused by name or rebuilt, never silently done


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (identity("other content"), "the content of in.jsonl has changed"),
        (identity(model="sim/b"), 'model was not set and is "sim/b"'),
        (identity("other", seed=1), "content of in.jsonl has changed; seed was not set and is 1"),
    ],
)
def test_another_job_is_refused_by_what_has_changed_and_harms_nothing(
    changed: Any, complaint: str, is_finished: bool, folder: Path
) -> None:
    with Run(folder).up_to_the_end(most=2):
        pass
    if is_finished:
        Run(folder).to_the_end()
    before = content_of(folder)
    with pytest.raises(ConfigError, match=re.escape(complaint)) as caught:
        Run(folder, is_same=changed).to_the_end()
    assert "belongs to another job" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert content_of(folder) == before
    Run(folder).to_the_end()
    assert output_in(folder) == expected()


def test_overwrite_starts_another_job_over(folder: Path) -> None:
    Run(folder, failing=(1,)).to_the_end()
    run = Run(folder, is_same=identity(model="sim/b"), overwrite=True).to_the_end()
    assert len(run.asked) == ROWS
    assert output_in(folder) == expected()
    found = manifest_in(folder)
    assert (found.runs, found.spend, found.settings) == (1, calls(ROWS), {"model": "sim/b"})


def test_overwrite_discards_the_rows_of_a_run_that_was_stopped(folder: Path) -> None:
    with Run(folder).up_to_the_end(most=3):
        pass
    assert len(Run(folder, overwrite=True).to_the_end().asked) == ROWS
    assert manifest_in(folder).spend == calls(ROWS)


def test_the_old_output_stays_until_the_new_one_is_whole(folder: Path) -> None:
    (folder / "out.jsonl").write_bytes(b"old")
    with Run(folder, overwrite=True).up_to_the_end(most=3):
        assert output_in(folder) == b"old"
    assert Run(folder).to_the_end().asked == [1, 0], "resumed without --overwrite"
    assert output_in(folder) == expected()


def test_a_replaced_output_that_is_put_back_is_no_output_of_the_job(folder: Path) -> None:
    (folder / "out.jsonl").write_bytes(b"old")
    Run(folder, overwrite=True).to_the_end()
    (folder / "out.jsonl").write_bytes(b"old")
    with pytest.raises(ConfigError, match="was modified since the last run"):
        Run(folder).to_the_end()
    assert output_in(folder) == b"old"


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.partial"])
def test_what_is_no_job_of_ours_is_not_touched(name: str, folder: Path) -> None:
    (folder / name).write_bytes(b"somebody else's")
    complaint = f"{name} exists and is not part of a job; .* -o, .* --overwrite"
    with pytest.raises(ConfigError, match=complaint):
        Run(folder).to_the_end()
    assert content_of(folder) == {name: b"somebody else's"}
    Run(folder, overwrite=True).to_the_end()
    assert output_in(folder) == expected()


@pytest.mark.parametrize("failing", [(), (1,)])
@pytest.mark.parametrize("edit", [b"x", b"", b"\n"])
def test_an_edited_output_is_refused_and_not_touched(
    edit: bytes, failing: tuple[int, ...], folder: Path
) -> None:
    Run(folder, failing=failing).to_the_end()
    edited = output_in(folder) + edit if edit else b""
    (folder / "out.jsonl").write_bytes(edited)
    with pytest.raises(ConfigError, match="was modified since the last run; move it away"):
        Run(folder).to_the_end()
    assert output_in(folder) == edited


def test_a_missing_output_is_regenerated(folder: Path) -> None:
    Run(folder).to_the_end()
    (folder / "out.jsonl").unlink()
    assert len(Run(folder).to_the_end().asked) == ROWS
    assert output_in(folder) == expected()


def test_an_output_removed_while_failed_rows_are_retried_is_regenerated(folder: Path) -> None:
    Run(folder, failing=(0, 1)).to_the_end()
    with Run(folder).up_to_the_end(most=1):
        pass
    (folder / "out.jsonl").unlink()
    assert Run(folder).to_the_end().asked == [4, 3, 2, 0], "row 1 is in the journal"
    assert output_in(folder) == expected()


def test_rows_of_a_missing_journal_are_retried(folder: Path) -> None:
    with Run(folder).up_to_the_end(most=3):
        pass
    (folder / "out.jsonl.partial").unlink()
    assert len(Run(folder).to_the_end().asked) == ROWS
    assert output_in(folder) == expected()


def test_a_damaged_manifest_is_refused_and_overwrite_is_the_way_out(folder: Path) -> None:
    with Run(folder).up_to_the_end(most=3):
        pass
    (folder / "out.jsonl.job.json").write_bytes(b"{")
    before = content_of(folder)
    with pytest.raises(ConfigError, match=r"out\.jsonl\.job\.json is damaged .* --overwrite"):
        Run(folder).to_the_end()
    assert content_of(folder) == before
    Run(folder, overwrite=True).to_the_end()
    assert output_in(folder) == expected()


@both_formats
def test_failed_rows_are_retried_and_answered_ones_stay(
    output_format: OutputFormat, folder: Path
) -> None:
    first = Run(folder, output_format=output_format, failing=(0, 2, 4)).to_the_end()
    assert len(first.asked) == ROWS
    assert output_in(folder) == expected(output_format, failing=(0, 2, 4))
    assert manifest_in(folder).failed == 3
    second = Run(folder, output_format=output_format, failing=(2,)).to_the_end()
    assert second.asked == [4, 2, 0]
    assert output_in(folder) == expected(output_format, failing=(2,))
    third = Run(folder, output_format=output_format).to_the_end()
    assert third.asked == [2]
    assert output_in(folder) == expected(output_format)
    found = manifest_in(folder)
    assert (found.runs, found.answered, found.failed) == (3, ROWS, 0)
    assert found.spend == calls(ROWS) + Spend(attempts=4)


def test_the_format_of_the_first_run_stays(folder: Path) -> None:
    with Run(folder, output_format="openai-batch").up_to_the_end(most=2):
        pass
    Run(folder, output_format="llmscale").to_the_end()
    assert lines_of(folder / "out.jsonl") == [to_batch(line_of(outcome(i))) for i in range(ROWS)]


def test_a_limit_that_is_raised_or_left_out_makes_the_job_grow(folder: Path) -> None:
    assert Run(folder, rows=2, is_same=identity(limit=2)).to_the_end().asked == [1, 0]
    assert Run(folder, rows=2, is_same=identity(limit=2)).to_the_end().asked == []
    assert Run(folder, rows=3, is_same=identity(limit=3)).to_the_end().asked == [2]
    assert Run(folder).to_the_end().asked == [4, 3]
    assert output_in(folder) == expected()
    assert manifest_in(folder).spend == calls(ROWS)


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_limit_that_would_drop_rows_is_refused(is_finished: bool, folder: Path) -> None:
    with Run(folder).up_to_the_end(most=2):
        pass
    if is_finished:
        Run(folder).to_the_end()
    before = content_of(folder)
    with pytest.raises(ConfigError, match="is a job of 5 rows, and --limit 2 would drop some"):
        Run(folder, rows=2, is_same=identity(limit=2)).to_the_end()
    assert content_of(folder) == before
    Run(folder).to_the_end()
    assert output_in(folder) == expected()


def test_a_limit_beyond_the_end_changes_nothing(folder: Path) -> None:
    Run(folder).to_the_end()
    assert Run(folder, is_same=identity(limit=99)).to_the_end().asked == []
    assert output_in(folder) == expected()


# --- in the way


def test_a_second_run_is_refused_while_the_first_is_running(folder: Path) -> None:
    with Run(folder).up_to_the_end(most=2) as job:
        for overwrite in (False, True):
            with pytest.raises(LockedError, match=f"process {os.getpid()} is running this job"):
                Run(folder, overwrite=overwrite).to_the_end()
        job.take_up(1)
        job.put([outcome(0)])
    assert Run(folder).to_the_end().asked == [2, 1]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_not_there_is_a_sentence(overwrite: bool, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*none for the output"):
        Job(JobPaths(tmp_path / "none" / "out.jsonl"), identity(), overwrite=overwrite)


def test_an_input_that_shrank_while_it_was_read_is_not_finished_over(folder: Path) -> None:
    complaint = "the input changed while it was read: 2 rows"
    with Run(folder).up_to_the_end(most=3) as job, pytest.raises(StorageError, match=complaint):
        job.finish(calls(3))
    assert not (folder / "out.jsonl").exists()
    Run(folder).to_the_end()
    assert output_in(folder) == expected()


class FullDisk:
    """Lets nothing more be written."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, after: int) -> None:
        self._left = after
        self._really = getattr(os, name)
        patch.setattr(os, name, self)

    def __call__(self, *arguments: Any) -> Any:
        if not self._left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._left -= 1
        return self._really(*arguments)


@pytest.mark.parametrize(("name", "times"), [("write", ROWS), ("fsync", 7), ("pwrite", 1)])
def test_a_disk_that_fills_at_any_moment_stops_the_job_and_the_same_command_resumes(
    name: str, times: int, folder: Path
) -> None:
    """The disk has space again for the run after."""
    for after in range(times):
        place = copy_of(folder, f"{name} {after}")
        run = Run(place)
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(patch, name, after)
            with pytest.raises(StorageError, match="No space left on device"):
                run.to_the_end()
        again = Run(place).to_the_end()
        assert output_in(place) == expected()
        assert content_of(place).keys() == FINISHED
        assert len(set(run.asked) & set(again.asked)) <= manifest_in(place).max_repeated_calls <= 1
        assert manifest_in(place).spend == calls(ROWS)


def test_of_a_group_that_the_disk_takes_in_part_no_whole_row_is_repeated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line_bytes = len(encode(line_of(outcome(0)), "llmscale"))
    really, room = os.write, 2 * line_bytes + 10

    def full_after_two_lines(descriptor: int, content: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = really(descriptor, content[:room])
        room -= written
        return written

    with Run(folder).up_to_the_end(most=0) as job, monkeypatch.context() as patch:
        job.take_up(4)
        patch.setattr(os, "write", full_after_two_lines)
        with pytest.raises(StorageError, match="No space left on device"):
            job.put([outcome(index) for index in range(4)])
    assert Run(folder).to_the_end().asked == [4, 3, 2]
    assert output_in(folder) == expected()
    found = manifest_in(folder)
    assert found.spend == calls(ROWS)
    assert 2 <= found.max_repeated_calls <= 4


def test_rows_of_a_group_are_not_in_flight_any_more(folder: Path) -> None:
    with Run(folder).up_to_the_end(most=0) as job:
        job.take_up(4)
        job.put([outcome(index) for index in range(3)])
    Run(folder).to_the_end()
    assert manifest_in(folder).max_repeated_calls == 1


def test_nothing_of_a_job_holds_a_row_of_the_input_or_a_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    Run(folder, is_same=identity(model="sim/a")).to_the_end()
    assert not [name for name, content in content_of(folder).items() if b"canary" in content]
    assert b"answer 0" not in content_of(folder)["out.jsonl.job.json"]


def test_the_cost_of_one_call_is_what_the_journal_says_it_is() -> None:
    """Or the sums above would prove nothing."""
    assert calls(1) == ONE_CALL
