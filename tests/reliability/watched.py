"""One job in a folder of its own, as a user has it, and what its runs leave behind.

Every run is a process of its own. After each end it is looked for child processes that live on and
for a traceback; at the end of the job for files that should be gone or that others may read.
"""

import itertools
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.benchmarks.jobs import MODEL, Verdict, judge, write_prompts
from tests.cli.forked import next_server
from tests.cli.tool import Process, environment
from tests.reliability.ledger import Entry, Served, arrivals, serving
from tests.servers.chat import ROOT

PATIENCE_S = 120.0
TOOL = ("llmscale",)
LASTS = {"prompts.jsonl", "out.jsonl", "out.jsonl.job.json", "out.report.json", "llmscale.toml"}


@dataclass(slots=True)
class Running:
    """A run that was started, with what it says in a file."""

    process: Process
    stderr: Path

    @property
    def said(self) -> str:
        """What it has said by now."""
        return self.stderr.read_text(encoding="utf-8")

    @property
    def is_running(self) -> bool:
        """Tell whether it has not ended."""
        return self.process.poll() is None

    def until(self, condition: Callable[[], object]) -> bool:
        """Return when the condition holds, or False when the run ends before it does."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            if not self.is_running:
                return False
            if time.monotonic() > deadline_s:
                self.process.kill()
                raise AssertionError("waited in vain")
            time.sleep(0.001)
        return True


@dataclass(slots=True)
class WatchedJob:
    """`prompts.jsonl` of so many rows to `out.jsonl`, by the same command again and again."""

    folder: Path
    rows: int
    served: Served
    options: Sequence[object] = ()
    metadata: str | None = None  # of every row, and so in every line of the output
    entries: list[Entry] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _runs: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        write_prompts(self.folder / "prompts.jsonl", self.rows, metadata=self.metadata)

    @property
    def output(self) -> Path:
        """Where the answers go."""
        return self.folder / "out.jsonl"

    @property
    def partial(self) -> Path:
        """The rows that are finished while there is no output."""
        return self.folder / "out.jsonl.partial"

    @property
    def command(self) -> list[str]:
        """The arguments of the tool."""
        to = ("--model", f"openai/{MODEL}", "--base-url", self.served.base_url)
        return ["run", "prompts.jsonl", "-o", "out.jsonl", *to, *map(str, self.options)]

    def start(
        self,
        *options: object,
        program: Sequence[str] = TOOL,
        stdout: int = subprocess.DEVNULL,
        limits: str = "",
    ) -> Running:
        """Begin a run, in a shell that has set `limits` first if there are any."""
        self._runs += 1
        stderr = self.folder.parent / f"{self.folder.name}.stderr.{self._runs}"
        command = [*program, *self.command, *map(str, options)]
        with stderr.open("wb") as said:
            streams = (subprocess.DEVNULL, stdout, said.fileno())
            if limits:
                process = self._limited(limits, command, streams)
            else:
                process = next_server().start(
                    command, self.folder, environment(), streams, start_new_session=True
                )
        return Running(process, stderr)

    def _limited(self, limits: str, command: Sequence[str], streams: Sequence[int]) -> Process:
        """Start a module in a shell that has set `limits`."""
        stdin, stdout, stderr = streams
        return subprocess.Popen(
            ["/bin/sh", "-c", f'{limits}; exec "$@"', "sh", sys.executable, "-m", *command],
            cwd=self.folder,
            env=environment(PYTHONPATH=str(ROOT)),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            text=True,
        )

    def end(self, running: Running) -> int:
        """Wait for the end of a run, look after it, and return its exit code."""
        try:
            code = running.process.wait(PATIENCE_S)
        except (TimeoutError, subprocess.TimeoutExpired):
            running.process.kill()
            self.complaints.append(f"a run hangs; it said: {running.said[-500:]}")
            code = running.process.wait()
        if living := processes_of(running.process.pid):
            self.complaints.append(f"processes that live on: {living}")
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if "Traceback" in running.said:
            self.complaints.append(running.said)
        return code

    def run(self, *options: object, limits: str = "") -> tuple[int, str]:
        """Run to the end; return the exit code and what was said."""
        running = self.start(*options, limits=limits)
        return self.end(running), running.said

    def kill(self, running: Running) -> bool:
        """Kill a run; False: it had ended before."""
        was_running = running.is_running
        running.process.kill()
        self.end(running)
        return was_running

    def news(self) -> list[Entry]:
        """Return what has reached the server since the last time, when all is quiet."""
        news = self.served.ledger.read_to_end()
        self.entries += news
        return news

    def has_asked(self, calls: int) -> bool:
        """Tell whether so many calls have reached the server by now."""
        self.entries += self.served.ledger.read()
        return len(arrivals(self.entries)) >= calls

    def verdict(self) -> Verdict:
        """Hold the output against what the server answers; without one all is lost."""
        try:
            return judge(self.output, self.rows)
        except (FileNotFoundError, orjson.JSONDecodeError) as error:
            self.complaints.append(f"no output: {error}")
            return Verdict(self.rows, self.rows, 0, 0)

    def max_repeated_calls(self) -> int:
        """Return the tool's own count."""
        report = orjson.loads((self.folder / "out.report.json").read_bytes())
        count: int = report["max_repeated_calls"]
        return count

    def wrong(self) -> int:
        """Return how much is not as it should be, now that the job is done."""
        verdict = self.verdict()
        self.complaints += misplaced(self.folder)
        for complaint in self.complaints:
            print(f"{self.folder.name}: {complaint}", file=sys.stderr)
        return verdict.lost + verdict.duplicated + verdict.wrong + len(self.complaints)


@contextmanager
def jobs_at_a_server(*options: object) -> Iterator[Callable[..., WatchedJob]]:
    """Yield what makes a job of so many rows with options of the tool; all ask one server."""
    with tempfile.TemporaryDirectory() as name, serving(Path(name), *options) as served:
        folder, numbers = Path(name).resolve(), itertools.count(1)

        def make(rows: int, *tool_options: object) -> WatchedJob:
            return WatchedJob(folder / f"job {next(numbers)}", rows, served, tool_options)

        yield make


def misplaced(folder: Path) -> list[str]:
    """Return the files of a finished job that should not be there, or not for all to read."""
    found = []
    for path in folder.rglob("*"):
        is_cache = path.parent.name == "cache" or path.name == "cache"
        if not is_cache and path.name not in LASTS:
            found.append(f"{path.name} is left")
        mode = stat.S_IMODE(path.stat().st_mode)
        is_ours = path.name not in ("prompts.jsonl", "llmscale.toml")
        if is_ours and mode != (0o700 if path.is_dir() else 0o600):
            found.append(f"{path.name} has the mode {mode:o}")
    return found


def processes_of(session: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(path.parent.name))
    return found
