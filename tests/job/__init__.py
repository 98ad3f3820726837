"""A job in a folder, run without a model: what the tests of this folder have in common."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import orjson
import pytest

from llmscale.accounting.stats import Spend
from llmscale.core.choices import OutputFormat
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.job.job import Identity, Job
from llmscale.job.job_paths import JobPaths
from llmscale.job.journal import Journal
from llmscale.job.manifest import InputFile

ROWS = 5
ONE_CALL = Spend(attempts=1, input_tokens=10, output_tokens=20, cost_usd=0.5)

REQUEST = Request(model="sim/a", messages=[])
FAILURE = Failure(kind="timeout", message="late", retryable=True)


def full(*_: Any) -> NoReturn:
    """Stand for an operation on a disk that is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def outcome(index: int, *, failed: bool = False) -> Outcome:
    """Return what always becomes of a row, so that two runs can be compared byte by byte."""
    row = Row(index=index, id=f"id {index}", request=REQUEST)
    if failed:
        return Outcome(row=row, failure=FAILURE, attempts=1)
    reply = Reply(
        text=f"answer {index}",
        finish_reason="stop",
        model="a",
        usage=Usage(10, 20),
        cost_usd=0.5,
    )
    return Outcome(row=row, reply=reply, attempts=1)


def identity(content: str = "content", limit: int | None = None, **settings: Any) -> Identity:
    """Return the identity of a job with one input file of this content."""
    return Identity([InputFile("in.jsonl", content)], settings, limit)


@contextmanager
def opened(
    folder: Path, rows: int = ROWS, output_format: OutputFormat = "llmscale"
) -> Iterator[Journal]:
    """Yield the journal as a run finds it."""
    files = JobPaths(folder / "out.jsonl")
    journal = Journal(files, rows, output_format)
    try:
        if files.output.exists():
            journal.load_output()
        journal.load_partial()
        yield journal
    finally:
        journal.close()


class Run:
    """One run of a job: asks the rows that have no answer, in reverse order, and notes which."""

    def __init__(
        self,
        folder: Path,
        *,
        rows: int = ROWS,
        failing: tuple[int, ...] = (),
        output_format: OutputFormat = "llmscale",
        overwrite: bool = False,
        is_same: Identity | None = None,
    ) -> None:
        self.asked: list[int] = []
        self._rows = rows
        self._failing = failing
        self._format: OutputFormat = output_format
        self._overwrite = overwrite
        self._identity = is_same or identity()
        self._files = JobPaths(folder / "out.jsonl")

    def to_the_end(self) -> "Run":
        """Run, finish, close."""
        with self.up_to_the_end() as job:
            if not job.is_finished:
                job.finish(self.spend)
        return self

    @contextmanager
    def up_to_the_end(self, most: int | None = None) -> Iterator[Job]:
        """Ask `most` rows, and yield the job before it is finished."""
        job = Job(self._files, self._identity, overwrite=self._overwrite)
        try:
            if not job.is_finished:
                job.begin(self._rows, self._format)
                for index in reversed(range(self._rows)):
                    if not job.journal.has_answer(index) and len(self.asked) != most:
                        self._ask(job, index)
            yield job
        except Exception:
            job.close()
            raise
        except Killed:
            die(job)
            raise
        else:
            close(job)

    @property
    def spend(self) -> Spend:
        """What this run has cost so far."""
        spend = Spend()
        for index in self.asked:
            spend += Spend(attempts=1) if index in self._failing else ONE_CALL
        return spend

    def _ask(self, job: Job, index: int) -> None:
        job.take_up(1)
        self.asked.append(index)
        job.put([outcome(index, failed=index in self._failing)])


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the product catches it."""


def close(job: Job) -> None:
    """Close a job, which is a moment to be killed in like any other."""
    try:
        job.close()
    except Killed:
        die(job)
        raise


def die(job: Job) -> None:
    """Let go as the kernel does of a killed process: the locks go, the files stay as they are."""
    job._lock._map.close()
    os.close(job._lock._descriptor)
    if job._journal is not None:
        job._journal.close()
    if job._staging is not None and job._staging._copy is not None:
        job._staging._copy.file.detach().close()  # what was not written yet is lost


class FileOperations:
    """Counts what is done to files, does `at` at one of them, and spares the disk every fsync."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self._at: int | None = None
        self._tears = False
        patch.setattr(os, "fsync", self._counted("fsync", lambda descriptor: None))
        patch.setattr(os, "write", self._torn(os.write))
        patch.setattr(Path, "replace", self._counted("rename", Path.replace))
        patch.setattr(Path, "unlink", self._counted("unlink", Path.unlink))

    def kill_before(self, number: int | None, *, tears: bool = False) -> None:
        """Restart the count, and die before this operation; `tears`: in the middle of a write."""
        self.names.clear()
        self._at, self._tears = number, tears

    def _counted(self, name: str, really: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            self._count(name)
            return really(*arguments, **named)

        return operation

    def _torn(self, really: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
        def write(descriptor: int, content: bytes) -> int:
            if self._tears and len(self.names) == self._at:
                really(descriptor, content[: len(content) // 2])
            self._count("write")
            return really(descriptor, content)

        return write

    def _count(self, name: str) -> None:
        if len(self.names) == self._at:
            self._at = None  # one dies but once
            raise Killed
        self.names.append(name)


def content_of(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def copy_of(folder: Path, name: str) -> Path:
    """Return a copy of a folder, in the place of an earlier one."""
    copy = folder.parent / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    return copy


def lines_of(path: Path) -> list[Any]:
    """Return the lines of a file as parsed."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]
