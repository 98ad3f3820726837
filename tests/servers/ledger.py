"""What really arrived at a test server and what was really answered: the judge of every run.

It says only whether a key was sent, never the key.
"""

import os
import time
from pathlib import Path

import orjson

from tests.servers.connection import Received


class Ledger:
    """What really arrived and what was really answered, a JSON line each.

    Every line is one write to the file's end, so that the death of a process loses none.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def arrived(self, call: int, key: str, connection: int, received: Received) -> None:
        self._write(
            event="arrived",
            call=call,
            key=key,
            connection=connection,
            bytes=len(received.body_bytes),
            authorization="authorization" in received.headers or "x-api-key" in received.headers,
        )

    def ended(
        self, call: int, key: str, connection: int, *, answered: bool, client_gone: bool
    ) -> None:
        """Note the end of a call; it is answered when the right answer went out whole."""
        self._write(
            event="ended",
            call=call,
            key=key,
            connection=connection,
            answered=answered,
            client_gone=client_gone,
        )

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, **entry: object) -> None:
        os.write(self._fd, orjson.dumps({"time_s": time.time(), **entry}) + b"\n")
