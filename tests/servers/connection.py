"""One keep-alive connection of a test server: requests out of its bytes, steps into bytes."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import responses as reason_phrases
from typing import TYPE_CHECKING, Any, cast

import orjson

from tests.servers.steps import Step

if TYPE_CHECKING:
    from tests.servers.chat import ChatServer


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any  # parsed JSON; None when it is none
    body_bytes: bytes
    time_s: float  # of the event loop


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is being answered."""

    number: int
    key: str
    step: Step
    body: bytes  # of the response
    delay_s: float
    closes: bool  # the client wants the connection closed behind the answer


class Connection(asyncio.Protocol):
    """Takes one request after the other out of its buffer."""

    _transport: asyncio.Transport

    def __init__(self, server: "ChatServer", number: int) -> None:
        self._server = server
        self.number = number
        self._buffer = bytearray()
        self._call: Call | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed_here = False

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
            self._end(self._call, answered=False, client_gone=not self._is_closed_here)
        self._server.closed(self)

    def abort(self) -> None:
        self._is_closed_here = True
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

    def _respond(self, call: Call) -> None:
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

    def _trickle(self, call: Call, body: bytes, position: int) -> None:
        self._transport.write(body[position : position + 1])
        if position + 1 == len(body):
            self._sent(call)
        else:
            assert call.step.trickle_s is not None
            self._later(call.step.trickle_s, self._trickle, call, body, position + 1)

    def _sent(self, call: Call) -> None:
        if call.step.cut_after is None:
            self._end(call, answered=call.step.is_answer)
        if call.closes or (call.step.cut_after is not None and not call.step.hang):
            self._is_closed_here = True
            self._transport.close()

    def _reset(self) -> None:
        """Close with a TCP reset: lingering for zero seconds drops the connection at once."""
        lingering = struct.pack("ii", 1, 0)
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        self.abort()

    def _end(self, call: Call, *, answered: bool, client_gone: bool = False) -> None:
        self._call = None
        self._server.end(self, call, answered=answered, client_gone=client_gone)


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
