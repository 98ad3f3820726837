"""The tool as a user has it, in one of three ways.

- `llmscale`, `start` and `on_a_terminal`: a process with arguments, folder, environment, streams
  and signals of its own. It is a fork of one that has imported the tool, and takes 0.03 s.
- `command`: for `subprocess`, where Python itself has to start, as with limits of a process: 0.3 s.
- `in_process`: in the process of the test, for a test that replaces a part of the tool.
"""

import logging
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE
from types import MappingProxyType
from typing import Any

import orjson
from typer.testing import CliRunner, Result

from llmscale.cli import app
from tests.cli.forked import OUTER, Forked, next_server

Process = subprocess.Popen[str] | Forked
Run = subprocess.CompletedProcess[str]


def environment(**more: str) -> dict[str, str]:
    """Return the environment without the keys, settings and cache of whoever runs the tests.

    The cache is off unless a test says where it is.
    """
    kept = {
        name: value
        for name, value in OUTER.items()
        if not name.startswith("LLMSCALE_") and not name.endswith(("_API_KEY", "_BASE_URL"))
    }
    return kept | {"LLMSCALE_CACHE_MODE": "off"} | more


def command(*args: object) -> list[str]:
    """Return the command line of the tool."""
    return [sys.executable, "-m", "llmscale", *map(str, args)]


def llmscale(*args: object, cwd: Path, stdin: str | None = None, **env: str) -> Run:
    """Run the tool to its end."""
    return to_its_end(args, cwd, environment(**env), stdin, patience_s=60)


def to_its_end(
    args: Iterable[object], cwd: Path, env: dict[str, str], stdin: str | None, patience_s: float
) -> Run:
    """Run the tool to its end, which comes within `patience_s`."""
    process = _start(args, cwd, env, DEVNULL if stdin is None else PIPE)
    stdout, stderr = process.communicate(stdin, timeout=patience_s)
    return subprocess.CompletedProcess(process.args, process.wait(), stdout, stderr)


def on_a_terminal(*args: object, cwd: Path, **env: str) -> tuple[int, str]:
    """Run the tool to its end on a terminal; return the exit code and what the terminal got."""
    return on_a_terminal_of(120, args, cwd, environment(**({"TERM": "xterm"} | env)))


def on_a_terminal_of(
    columns: int, args: Iterable[object], cwd: Path, given: dict[str, str]
) -> tuple[int, str]:
    """Do the same on a terminal of that width, in an environment."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, columns))
    process = _start(args, cwd, given, DEVNULL, theirs, theirs)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return process.wait(), seen.decode(errors="surrogateescape")


def start(
    *args: object,
    cwd: Path,
    env: Mapping[str, str] = MappingProxyType({}),
    stdin: int = DEVNULL,
    stdout: int = PIPE,
) -> Process:
    """Start the tool and return while it runs; streams are as for `Popen`."""
    return _start(args, cwd, environment(**env), stdin, stdout)


def in_process(*args: object) -> Result:
    """Run the tool to its end in this process."""
    log = logging.getLogger("llmscale")
    before = (log.handlers[:], log.propagate, log.level)
    try:
        return CliRunner().invoke(app, [*map(str, args)])
    finally:
        log.handlers[:], log.propagate, log.level = before


def _start(
    args: Iterable[object],
    cwd: Path,
    env: dict[str, str],
    stdin: int,
    stdout: int = PIPE,
    stderr: int = PIPE,
) -> Process:
    """Start the tool, and by a fork where its environment allows it."""
    server = next_server()
    if server.can_start(env):
        return server.start(["llmscale", *map(str, args)], cwd, env, (stdin, stdout, stderr))
    return subprocess.Popen(
        command(*args), cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, text=True
    )


def stop(process: Process, number: signal.Signals) -> Run:
    """Send a signal and wait for the end."""
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    return subprocess.CompletedProcess(process.args, process.wait(), stdout, stderr)


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return when the condition holds; fail the test when it does not come true."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.01)


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    """Write a JSONL file."""
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def report_of(output: Path) -> dict[str, Any]:
    """Return the report of the job with that output."""
    found: dict[str, Any] = orjson.loads(output.with_suffix(".report.json").read_bytes())
    return found


def arrived(ledger: Path) -> list[dict[str, Any]]:
    """Return the calls that arrived at a server."""
    return [entry for entry in read_rows(ledger) if entry["event"] == "arrived"]


def prompts(count: int) -> list[dict[str, str]]:
    """Return that many different rows."""
    return [{"prompt": f"What is {number} squared?"} for number in range(count)]


def lines_in(path: Path) -> int:
    """Return the whole lines of a file, 0 where there is none yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
