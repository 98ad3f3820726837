"""A process that has imported the tool and becomes it in a fork of itself, again and again.

That takes 0.03 s, and a process from nothing 0.3 s. A fork has arguments, folder, environment,
streams and signals of its own, and ends as Python ends; only the modules, which are most of what
there is, are not taken down one by one. Started and asked by `forked.py`.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, cast

IMPORTED_LATE = ("aiohttp.web", "genai_prices", "jsonschema", "uvloop")
"""What the tool imports where it needs it; nothing here may start a thread."""

_exit_codes: list[int] = []


def import_all() -> None:
    """Import what commands import."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process that forks has one thread
    import llmscale

    modules = (module.name for module in pkgutil.walk_packages(llmscale.__path__, "llmscale."))
    for name in (*modules, *IMPORTED_LATE):
        if name != "llmscale.__main__":
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each fork would touch every object, and thus copy every page


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns in the forks, with what they are asked for."""
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        message, files, _, _ = socket.recv_fds(requests, 1, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            return _watched(*files)
        for file in files:
            os.close(file)


def _reap(*_: object) -> None:
    """Take note of every watcher that has ended, so that what it has used is counted."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watched(control_file: int, *streams: int) -> dict[str, Any]:
    """Fork once more; returns in the fork, and tells of it its process id and how it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(fileno=control_file) as control:
        with control.makefile("rb") as lines:
            asked: dict[str, Any] = json.loads(lines.readline())
        if (pid := os.fork()) == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        if pid == 0:
            return asked
        _tell(control, pid)
        _, status = os.waitpid(pid, 0)
        _tell(control, os.waitstatus_to_exitcode(status))
    os._exit(0)


def _tell(control: socket.socket, number: int) -> None:
    with suppress(OSError):  # whoever has asked is gone
        control.sendall(number.to_bytes(4, signed=True))


def become(asked: dict[str, Any]) -> None:
    """Do what `python -m` does; `asked` holds `command`, `cwd`, `env` and `new_session`."""
    if asked["new_session"]:
        os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = asked["command"]
    sys.path[0] = asked["cwd"]
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=os.isatty(1))
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int):
            _exit_codes.append(end.code)
        raise


def leave() -> None:
    """End here, when all threads have ended and all is written, with an exit code that is known."""
    gc.collect()
    with suppress(OSError, ValueError, IndexError):  # such an end is left to Python
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_codes[0])


if __name__ == "__main__":
    atexit.register(leave)  # before any other, so that it is the last to be called
    import_all()
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
