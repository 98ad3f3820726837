"""An OpenAI-compatible chat server on loopback whose answer is a function of the request.

For tests, benchmarks and reliability runs: a wrong, lost or twice asked row is detected, not
guessed. It runs inside a test (`async with ChatServer() as server`) or as a process of its own
(`with chat_process() as base_url`, `python -m tests.servers.chat`), answers on any path, and does
on request what a bad network does. Its ledger says only whether a key was sent, never the key.
"""

import argparse
import asyncio
import hashlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import responses as reason_phrases
from pathlib import Path
from random import Random
from typing import Any, Self, cast

import orjson

ROOT = Path(__file__).parents[2]
COMPLETION_TOKENS = 8
BACKLOG = 4096  # connections that wait to be taken: what comes at once may be thousands


@dataclass(frozen=True, slots=True)
class Step:
    """One scripted response. As it stands, it is the answer that the request calls for."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None  # bytes as they are, anything else as JSON; None: the answer, or an error body
    delay_s: float = 0.0  # before the first byte
    cut_after: int | None = None  # bytes of the body, then the connection closes
    hang: bool = False  # silence instead of an answer; with `cut_after`, after those bytes
    reset: bool = False  # TCP reset instead of an answer
    trickle_s: float | None = None  # headers at once, then one byte of the body per interval

    @property
    def is_answer(self) -> bool:
        """Whether the client gets what it asked for, whole."""
        broken = self.hang or self.reset or self.cut_after is not None
        return self.status == 200 and self.body is None and not broken


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any  # parsed JSON; None when it is none
    body_bytes: bytes
    time_s: float  # of the event loop


def request_key(model: object, messages: object) -> str:
    """Return 16 hex digits that stand for the question."""
    canonical = orjson.dumps({"model": model, "messages": messages}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:16]


def expected_answer(model: str, messages: list[Any]) -> str:
    """Return the only right answer to these messages; `model` as the server sees it."""
    return "A:" + request_key(model, messages)


def prompt_tokens(messages: list[Any]) -> int:
    """Return the tokens that the server claims for the messages: a quarter of their characters."""
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    return max(1, sum(len(text) for text in contents if isinstance(text, str)) // 4)


def _answer_body(key: str, body: dict[str, Any]) -> bytes:
    counted = prompt_tokens(body["messages"])
    message = {"role": "assistant", "content": "A:" + key}
    return orjson.dumps(
        {
            "id": "chatcmpl-" + key,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.get("model"),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": counted,
                "completion_tokens": COMPLETION_TOKENS,
                "total_tokens": counted + COMPLETION_TOKENS,
            },
        }
    )


def _error_body(status: int) -> bytes:
    message = f"the test server was told to answer {status}"
    return orjson.dumps({"error": {"message": message, "type": "test_error", "code": None}})


# What `--faults` can name beside a status code.
NAMED_FAULTS = {
    "reset": Step(reset=True),
    "hang": Step(hang=True),
    "cut": Step(cut_after=20),
    "empty": Step(body={"object": "chat.completion", "choices": []}),
    "html": Step(headers={"content-type": "text/html"}, body=b"<html><h1>Bad gateway</h1></html>"),
}


def parse_faults(spec: str) -> list[tuple[Step, float]]:
    """Return each fault of a spec such as `429:0.05,reset:0.01` with its probability."""
    faults = []
    for part in filter(None, spec.split(",")):
        name, _, share = part.partition(":")
        step = Step(status=int(name)) if name.isdecimal() else NAMED_FAULTS.get(name)
        if step is None:
            known = ", ".join(NAMED_FAULTS)
            raise ValueError(f"unknown fault {name!r}: give a status code or one of {known}")
        faults.append((step, float(share)))
    if sum(share for _, share in faults) > 1:
        raise ValueError(f"the probabilities of {spec!r} add to more than 1")
    return faults


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

    def ended(self, call: int, key: str, connection: int, *, answered: bool) -> None:
        """Note the end of a call; it is answered when the right answer went out whole."""
        self._write(event="ended", call=call, key=key, connection=connection, answered=answered)

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, **entry: object) -> None:
        os.write(self._fd, orjson.dumps({"time_s": time.time(), **entry}) + b"\n")


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that is being answered."""

    number: int
    key: str
    step: Step
    body: bytes  # of the response
    delay_s: float
    closes: bool  # the client wants the connection closed behind the answer


class _Connection(asyncio.Protocol):
    """One keep-alive connection: takes one request after the other out of its buffer."""

    _transport: asyncio.Transport

    def __init__(self, server: "ChatServer", number: int) -> None:
        self._server = server
        self.number = number
        self._buffer = bytearray()
        self._call: _Call | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._call is not None:
            self._end(self._call, answered=False)
        self._server.closed(self)

    def abort(self) -> None:
        self._transport.abort()

    def _advance(self) -> None:
        """Begin every request that is complete, one at a time."""
        while self._call is None and not self._transport.is_closing():
            received = _take_request(self._buffer)
            if received is None:
                return
            self._call = call = self._server.begin(self, received)
            if call.delay_s > 0:
                self._later(call.delay_s, self._respond, call)
            else:
                self._respond(call)

    def _later(self, delay_s: float, action: Callable[..., None], *args: object) -> None:
        def act() -> None:
            action(*args)
            self._advance()

        self._timer = asyncio.get_running_loop().call_later(delay_s, act)

    def _respond(self, call: _Call) -> None:
        step = call.step
        if step.reset:
            self._reset()
        elif not step.hang or step.cut_after is not None:
            head, body = _head(step, len(call.body)), call.body[: step.cut_after]
            if step.trickle_s is None or not body:
                self._transport.write(head + body)
                self._sent(call)
            else:
                self._transport.write(head)
                self._later(step.trickle_s, self._trickle, call, body, 0)

    def _trickle(self, call: _Call, body: bytes, position: int) -> None:
        self._transport.write(body[position : position + 1])
        if position + 1 == len(body):
            self._sent(call)
        else:
            assert call.step.trickle_s is not None
            self._later(call.step.trickle_s, self._trickle, call, body, position + 1)

    def _sent(self, call: _Call) -> None:
        if call.step.cut_after is None:
            self._end(call, answered=call.step.is_answer)
        if call.closes or (call.step.cut_after is not None and not call.step.hang):
            self._transport.close()

    def _reset(self) -> None:
        """Close with a TCP reset: lingering for zero seconds drops the connection at once."""
        lingering = struct.pack("ii", 1, 0)
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        self._transport.abort()

    def _end(self, call: _Call, *, answered: bool) -> None:
        self._call = None
        self._server.end(self, call, answered=answered)


def _take_request(buffer: bytearray) -> Received | None:
    """Cut the first whole request out of the buffer; None as long as there is none."""
    head_bytes = buffer.find(b"\r\n\r\n")
    if head_bytes < 0:
        return None
    first, *lines = buffer[:head_bytes].decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body_start = head_bytes + 4
    body_end = body_start + int(headers.get("content-length", 0))
    if len(buffer) < body_end:
        return None
    body = bytes(buffer[body_start:body_end])
    del buffer[:body_end]
    method, path, _ = first.split(" ")
    now_s = asyncio.get_running_loop().time()
    return Received(method, path, headers, _parse(body), body, now_s)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _head(step: Step, length_bytes: int) -> bytes:
    headers = {"content-type": "application/json", "content-length": str(length_bytes)}
    headers.update({name.lower(): value for name, value in step.headers.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reason = reason_phrases.get(step.status, "Unknown")
    return f"HTTP/1.1 {step.status} {reason}\r\n{lines}\r\n".encode("latin-1")


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
        self._connections: set[_Connection] = set()
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
            return _error_body(step.status)
        return _answer_body(key, question)

    def begin(self, connection: _Connection, received: Received) -> _Call:
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
        return _Call(
            number=self._call_count,
            key=key,
            step=step,
            body=self.response_body(step, key, question),
            delay_s=self._delay_s(step),
            closes=received.headers.get("connection", "").lower() == "close",
        )

    def end(self, connection: _Connection, call: _Call, *, answered: bool) -> None:
        """Note that a call has its answer, or that its client is gone."""
        if self._ledger is not None:
            self._ledger.ended(call.number, call.key, connection.number, answered=answered)

    def opened(self, connection: _Connection) -> None:
        """Note a connection that is there; with TLS, one whose client has accepted us."""
        self._connections.add(connection)
        self._idle.clear()

    def closed(self, connection: _Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._idle.set()

    def _open(self) -> _Connection:
        self._connection_count += 1
        return _Connection(self, self._connection_count)

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


@contextmanager
def chat_process(*options: object, module: str = "tests.servers.chat") -> Iterator[str]:
    """Run the server in a process of its own, with options as on its command line.

    Yields its base URL. It ends with the block, and also when this process dies.
    """
    command = [sys.executable, "-m", module, "--with-parent", *map(str, options)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        try:
            if not base_url:
                raise RuntimeError("the chat server did not start")
            yield base_url
        finally:
            process.terminate()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.chat")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="append a line per event")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="S", help="at most this more")
    parser.add_argument("--faults", default="", metavar="SPEC", help="429:0.05,reset:0.01,...")
    parser.add_argument("--seed", type=int, default=0, help="of faults and jitter")
    parser.add_argument("--with-parent", action="store_true", help="stop when stdin closes")
    return parser.parse_args()


def _stop_with_parent(stop: asyncio.Event) -> None:
    """Read stdin to its end: the kernel closes the parent's end however the parent dies."""
    if not os.read(0, 4096):
        stop.set()


async def _serve(options: argparse.Namespace, kind: type["ChatServer"]) -> None:
    """Serve until a signal comes, or until the parent is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.with_parent:
        loop.add_reader(0, _stop_with_parent, stop)
    server = kind(
        port=options.port,
        latency_s=options.latency,
        jitter_s=options.jitter,
        faults=options.faults,
        seed=options.seed,
        ledger=options.ledger,
        keep_requests=False,
    )
    async with server:
        print(server.base_url, flush=True)
        await stop.wait()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def main(kind: type[ChatServer] = ChatServer) -> None:
    """Run the server as its own process."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(_options(), kind))


if __name__ == "__main__":
    main()
