"""Processes of the tool that are forks of one that has imported it; see `fork_server.py`.

What Python settles when it starts is the same in all forks of a server, such as the seed of its
hashes. So two servers take turns, that no two runs in a row agree on an order by luck; and a
process whose environment says something that is settled by then can't be a fork.
"""

import atexit
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parents[2]

OUTER = dict(os.environ)
"""The environment of whoever runs the tests; they change that of this process, as the tool does."""

READ_LATE = re.compile(r"LLMSCALE_\w+|\w+_API_KEY|\w+_BASE_URL|COLUMNS|HOME|TERM|XDG_CACHE_HOME")
"""Variables that nothing reads before a command has its flags."""


class Forked:
    """A process that was forked; what tests need of a `subprocess.Popen[str]`."""

    def __init__(
        self, args: Sequence[str], control: socket.socket, pipes: Sequence[TextIO | None]
    ) -> None:
        self.args = args
        self.pid = _read_number(control)
        self.stdin, self.stdout, self.stderr = pipes
        self.returncode: int | None = None
        self._control = control

    def poll(self) -> int | None:
        """Return the exit code, or the negative number of a signal; None: it still runs."""
        with suppress(BlockingIOError):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the same when it has ended; raises TimeoutError."""
        if self.returncode is None:
            self._control.settimeout(timeout)
            self.returncode = _read_number(self._control)
            self._control.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # by now
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(
        self,
        input: str | None = None,  # noqa: A002
        timeout: float | None = None,
    ) -> tuple[str, str]:
        """Write to its stdin, read all that it says and wait for its end; a timeout is its end."""
        with ThreadPoolExecutor(3) as pool:
            pool.submit(_write_all, self.stdin, input)
            said = pool.map(_read_all, (self.stdout, self.stderr))
            try:
                self.wait(timeout)
            except TimeoutError:
                self.kill()
                raise
        stdout, stderr = said
        return stdout, stderr


class ForkServer:
    """A process that forks when asked, in the outer environment; it ends with this one."""

    def __init__(self) -> None:
        self._environment = _settled(OUTER)
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.fork_server", str(theirs.fileno())],
                cwd=ROOT,
                env=OUTER,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._requests.close()
        self._process.wait()

    def can_start(self, env: Mapping[str, str]) -> bool:
        """Tell whether a process with that environment can be a fork."""
        return _settled(env) == self._environment

    def start(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        streams: Sequence[int],
        *,
        start_new_session: bool = False,
    ) -> Forked:
        """Start a module with arguments; `streams`: stdin, stdout, stderr, all as for `Popen`."""
        control, theirs = socket.socketpair()
        ends = [_ends(stream, mode) for stream, mode in zip(streams, "rww", strict=True)]
        with theirs:
            files = [theirs.fileno(), *(end for end, _ in ends)]
            socket.send_fds(self._requests, [b"."], files)
        for end, _ in ends:
            os.close(end)
        asked = {
            "command": command,
            "cwd": str(cwd),
            "env": dict(env),
            "new_session": start_new_session,
        }
        control.sendall(json.dumps(asked).encode() + b"\n")
        return Forked(command, control, [pipe for _, pipe in ends])


@cache
def _servers() -> Iterator[ForkServer]:
    return itertools.cycle([ForkServer(), ForkServer()])


def next_server() -> ForkServer:
    """Return the server whose turn it is."""
    return next(_servers())


def _settled(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not READ_LATE.fullmatch(name)}


def _ends(stream: int, mode: str) -> tuple[int, TextIO | None]:
    """Return the file for the process, where it has that mode, and our end of it if it's a pipe."""
    if stream == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if stream != subprocess.PIPE:
        return os.dup(stream), None
    reading, writing = os.pipe()
    if mode == "r":
        return reading, os.fdopen(writing, "w")
    return writing, os.fdopen(reading)


def _write_all(pipe: TextIO | None, text: str | None) -> None:
    if pipe is not None:
        with suppress(BrokenPipeError), pipe:
            pipe.write(text or "")


def _read_all(pipe: TextIO | None) -> str:
    if pipe is None:
        return ""
    with pipe:
        return pipe.read()


def _read_number(control: socket.socket) -> int:
    number = control.recv(4, socket.MSG_WAITALL)
    assert number, "the fork server is gone"
    return int.from_bytes(number, signed=True)
