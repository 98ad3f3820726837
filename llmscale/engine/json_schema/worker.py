"""Checks answers in processes that can be stopped: a pattern may take for ever, the loop may not.

The process reads a line (schema and text) and writes one (why the text does not fit, or null).
One that takes too long is killed, and the next line gets a new one.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import orjson

CHECK_TIMEOUT_S = 1.0
BYTES_A_SECOND = 1_000_000  # a large answer gets more time
START_TIMEOUT_S = 30.0  # to load the interpreter, on a busy machine
KILLED_AFTER_S = 60
MAX_WORKERS = 4
_MAX_LINE_BYTES = 256 * 1024 * 1024

_ROOT = Path(__file__).parents[3]  # where the package is, which the current folder may not name
_PROGRAM = f"import sys; sys.path.append({str(_ROOT)!r}); from {__name__} import main; main()"
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH")


class SchemaTimeout(Exception):
    """A check took longer than `CHECK_TIMEOUT_S`."""


class SchemaWorkers:
    """Processes that check answers, started when there is something to check."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(min(MAX_WORKERS, os.cpu_count() or 1))
        self._idle: list[asyncio.subprocess.Process] = []

    async def misfit(self, schema: Any, text: str) -> str | None:
        """Say why an answer does not fit, or None when it does. Raises `SchemaTimeout`."""
        async with self._slots:
            process = self._idle.pop() if self._idle else await _started()
            try:
                found: str | None = await _asked(process, [schema, text], CHECK_TIMEOUT_S)
            except BaseException as error:
                await _end(process)
                if isinstance(error, TimeoutError):
                    raise SchemaTimeout from None
                raise
            self._idle.append(process)
            return found

    async def aclose(self) -> None:
        """End all processes."""
        while self._idle:
            await _end(self._idle.pop())


async def _started() -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _PROGRAM),  # -P: no module of the current folder
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},  # no keys
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_MAX_LINE_BYTES,
        start_new_session=True,  # Ctrl-C is not for it
    )
    await _asked(process, [{}, "0"], START_TIMEOUT_S)  # loads the library
    return process


async def _asked(process: asyncio.subprocess.Process, question: Any, timeout_s: float) -> Any:
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    line = orjson.dumps(question)
    process.stdin.write(b"%d\n" % len(line) + line)
    async with asyncio.timeout(timeout_s + len(line) / BYTES_A_SECOND):
        await process.stdin.drain()
        return orjson.loads(await process.stdout.readline())


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await asyncio.shield(process.wait())


def main() -> None:
    """Answer questions from standard input until it ends."""
    from llmscale.engine.json_schema.validators import SchemaValidator

    known: tuple[bytes, Any] = (b"", None)
    while length := sys.stdin.buffer.readline():
        schema, text = orjson.loads(sys.stdin.buffer.read(int(length)))
        encoded = orjson.dumps(schema)
        signal.alarm(KILLED_AFTER_S)  # where nobody is left to kill it
        if encoded != known[0]:
            known = (encoded, SchemaValidator(schema))
        sys.stdout.buffer.write(orjson.dumps(known[1].misfit(text)) + b"\n")
        sys.stdout.buffer.flush()
        signal.alarm(0)
