"""The tool as a process of its own against servers on loopback.

What is judged is the output and the servers' ledgers, never what the tool says of itself.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.benchmarks.jobs import MODEL, judge, read_lines
from tests.cli.tool import Run, command, environment, to_its_end
from tests.servers.chat import ChatServer, Step

PATIENCE_S = 600.0
JOB = ("run", "prompts.jsonl", "-o", "out.jsonl", "--quiet")

T = TypeVar("T")
Decide = Callable[[int, str], Step | None]


class DecidingServer(ChatServer):
    """Asks `decide` what to do with the n-th call and its prompt; None: answer it."""

    def __init__(self, decide: Decide, **options: Any) -> None:
        super().__init__(**options)
        self._decide = decide

    def _next_step(self, *, answerable: bool) -> Step:
        prompt = self.requests[-1].body["messages"][-1]["content"] if answerable else ""
        decided = self._decide(len(self.requests), prompt)
        return super()._next_step(answerable=answerable) if decided is None else decided


@contextmanager
def new_folder() -> Iterator[Path]:
    """Yield a folder that is gone at the end."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


def run(
    folder: Path,
    *options: object,
    job: Sequence[object] = JOB,
    stdin: str | None = None,
    **env: str,
) -> Run:
    """Run a job to its end."""
    return to_its_end((*job, *options), folder, environment(**env), stdin, PATIENCE_S)


def peak_of_run_mb(folder: Path, *options: object, **env: str) -> tuple[int, float]:
    """Run a job to its end; return its exit code and the largest resident set that was seen.

    The kernel's own figure at the end of a child begins at the peak of its parent.
    """
    process = subprocess.Popen(
        command(*JOB, *options), cwd=folder, env=environment(**env), stderr=subprocess.DEVNULL
    )
    peak_kib = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with suppress(OSError, StopIteration):  # it has just ended
            lines = status.read_text().splitlines()
            peak_kib = int(next(line for line in lines if "VmHWM" in line).split()[1])
        time.sleep(0.01)
    return process.returncode, peak_kib * 1024 / 1e6


def to_servers(folder: Path, base_urls: Sequence[str], settings: str = "") -> None:
    """Have the job's model answered by these servers, in `llmscale.toml`."""
    tables = [
        f'[[endpoint]]\nmodel = "openai/{MODEL}"\nbase_url = "{base_url}"\n{settings}'
        for base_url in base_urls
    ]
    (folder / "llmscale.toml").write_text("".join(tables))


def while_serving(
    servers: Sequence[AbstractAsyncContextManager[object]],
    use: Callable[[], T],
    meanwhile: Callable[[], Coroutine[object, object, None]] | None = None,
) -> T:
    """Return what `use` returns, which runs in a thread while the servers are there."""

    async def play() -> T:
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            beside = [asyncio.create_task(meanwhile())] if meanwhile else []
            try:
                return await asyncio.to_thread(use)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    with asyncio.Runner() as runner:
        return runner.run(play())


def unanswered(folder: Path, rows: int) -> int:
    """Return the rows without one line that is a right answer."""
    verdict = judge(folder / "out.jsonl", rows)
    return verdict.lost + verdict.wrong + verdict.duplicated


def unclassified(folder: Path, rows: int) -> int:
    """Return the rows without one line that is a right answer or a classified failure."""
    verdict = judge(folder / "out.jsonl", rows)
    lines = list(read_lines(folder / "out.jsonl"))
    empty = sum(line["output"] is None and not line["error"] for line in lines)
    return rows - len(lines) + empty + verdict.wrong + verdict.duplicated
