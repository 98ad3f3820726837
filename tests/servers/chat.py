"""An OpenAI-compatible chat server on loopback whose answer is a function of the request.

For tests, benchmarks and reliability runs: a wrong, lost or twice asked row is detected, not
guessed. It runs inside a test (`async with ChatServer() as server`) or as a process of its own
(`with chat_process() as base_url`, `python -m tests.servers.chat`), answers on any path, and does
on request what a bad network does.
"""

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, Self

import orjson

from tests.servers.answers import (
    COMPLETION_TOKENS,
    answer_body,
    error_body,
    expected_answer,
    prompt_tokens,
    request_key,
)
from tests.servers.connection import Call, Connection, Received
from tests.servers.ledger import Ledger
from tests.servers.process import ROOT, chat_process, main
from tests.servers.steps import Step, parse_faults

__all__ = [
    "COMPLETION_TOKENS",
    "ROOT",
    "ChatServer",
    "Received",
    "Step",
    "chat_process",
    "expected_answer",
    "main",
    "parse_faults",
    "prompt_tokens",
    "request_key",
]

BACKLOG = 4096  # connections that wait to be taken: what comes at once may be thousands


class ChatServer:
    """The server: `base_url` says where, `script` what comes next, `requests` what came."""

    base_url: str

    def __init__(
        self,
        *,
        port: int = 0,
        latency_s: float = 0.0,
        jitter_s: float = 0.0,
        faults: str = "",
        seed: int = 0,
        ledger: Path | None = None,
        keep_requests: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[Received] = []
        self._port = port
        self._latency_s = latency_s
        self._jitter_s = jitter_s
        self._faults = parse_faults(faults)
        self._random = Random(seed)
        self._ledger = None if ledger is None else Ledger(ledger)
        self._keep_requests = keep_requests
        self._tls = tls
        self._script: deque[Step] = deque()
        self._connections: set[Connection] = set()
        self._connection_count = 0
        self._call_count = 0
        self._idle = asyncio.Event()

    def script(self, steps: Iterable[Step]) -> None:
        """Answer the next requests with these steps, in order of arrival; then as usual."""
        self._script.extend(steps)

    @property
    def connections(self) -> int:
        """How many connections there have been; with TLS, those that a client broke off too."""
        return self._connection_count

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._open, "127.0.0.1", self._port, backlog=BACKLOG, ssl=self._tls
        )
        self._idle.set()
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._idle.wait()
        await self._server.wait_closed()
        if self._ledger is not None:
            self._ledger.close()

    def is_question(self, body: object) -> bool:
        """Tell whether there is an answer to a body."""
        return isinstance(body, dict) and isinstance(body.get("messages"), list)

    def key_of(self, question: dict[str, Any]) -> str:
        """Return the name of a question in the ledger."""
        return request_key(question.get("model"), question["messages"])

    def response_body(self, step: Step, key: str, question: dict[str, Any] | None) -> bytes:
        """Return what a step sends."""
        if isinstance(step.body, bytes):
            return step.body
        if step.body is not None:
            return orjson.dumps(step.body)
        if step.status != 200 or question is None:
            return error_body(step.status)
        return answer_body(key, question)

    def begin(self, connection: Connection, received: Received) -> Call:
        """Note the arrival of a request and decide how it is answered."""
        question = received.body if self.is_question(received.body) else None
        if question is None:
            key = hashlib.sha256(received.body_bytes).hexdigest()[:16]
        else:
            key = self.key_of(question)
        self._call_count += 1
        if self._keep_requests:
            self.requests.append(received)
        if self._ledger is not None:
            self._ledger.arrived(self._call_count, key, connection.number, received)
        step = self._next_step(answerable=question is not None)
        return Call(
            number=self._call_count,
            key=key,
            step=step,
            body=self.response_body(step, key, question),
            delay_s=self._delay_s(step),
            closes=received.headers.get("connection", "").lower() == "close",
        )

    def end(self, connection: Connection, call: Call, *, answered: bool, client_gone: bool) -> None:
        """Note that a call has its answer, or that its client is gone."""
        if self._ledger is not None:
            self._ledger.ended(
                call.number, call.key, connection.number, answered=answered, client_gone=client_gone
            )

    def opened(self, connection: Connection) -> None:
        """Note a connection that is there; with TLS, one whose client has accepted us."""
        self._connections.add(connection)
        self._idle.clear()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._idle.set()

    def _open(self) -> Connection:
        self._connection_count += 1
        return Connection(self, self._connection_count)

    def _next_step(self, *, answerable: bool) -> Step:
        if self._script:
            return self._script.popleft()
        point = self._random.random() if self._faults else 1.0
        for step, share in self._faults:
            point -= share
            if point < 0:
                return step
        return Step() if answerable else Step(status=400)

    def _delay_s(self, step: Step) -> float:
        jitter_s = self._random.random() * self._jitter_s if self._jitter_s else 0.0
        return step.delay_s + self._latency_s + jitter_s


if __name__ == "__main__":
    main(ChatServer)
