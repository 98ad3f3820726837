"""One keep-alive connection: requests out of its bytes one after the other, plans into bytes.

Decides nothing; also does what a bad network does: silence, a body that stops half-way, a reset.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from llmscale.mock.call import CallPlanner, MockCall
from llmscale.mock.wire import CONTINUE, Head, Unreadable, response_head, take_head

READ_AHEAD_BYTES = 256 * 1024  # of a client that does not wait for its answers
LINGER_S = 5.0


class MockConnection(asyncio.Protocol):
    """One client."""

    _transport: asyncio.Transport

    def __init__(
        self, server: CallPlanner, number: int, closed: "Callable[[MockConnection], None]"
    ) -> None:
        """`closed` is called when the client has gone."""
        self._server = server
        self._number = number
        self._closed = closed
        self._buffer = bytearray()
        self._head: Head | None = None
        self._call: MockCall | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_full = False  # the client does not read what it is sent
        self._is_deaf = False  # what comes now is of no interest
        self._is_paused = False
        self._is_aborted = False

    # ---- called by the event loop ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        # uvloop's transports are none by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request, of half a one, or of many."""
        if self._is_deaf:
            return
        self._buffer += data
        if self._call is None:
            self._advance()
        waits = self._call is not None or self._is_full
        if waits and not self._is_deaf and len(self._buffer) > READ_AHEAD_BYTES:
            self._is_paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The client reads less than it is sent: begin nothing more."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_full = False
        self._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        """The client is gone, or this end has closed."""
        if self._timer is not None:
            self._timer.cancel()
        if self._call is not None:
            self._end(self._call, sent_bytes=None, client_gone=not self._is_aborted)
        self._closed(self)

    # ---- called by the server ----

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._is_aborted = True
        self._transport.abort()

    # ---- inside ----

    def _advance(self) -> None:
        """Begin every request that is whole, one at a time."""
        while self._call is None and not (self._is_full or self._is_deaf):
            call = self._next_call()
            if call is None:
                return
            self._call = call
            self._carry_out(call)

    def _next_call(self) -> MockCall | None:
        """Take a request out of the buffer; None: none is whole."""
        try:
            if self._head is None:
                self._head = take_head(self._buffer)
                if self._head is not None and self._head.waits:
                    self._transport.write(CONTINUE)
        except Unreadable as error:
            return self._server.refuse(self._number, error)
        head, buffer = self._head, self._buffer
        if head is None or len(buffer) < head.body_bytes:
            return None
        raw = bytes(buffer[: head.body_bytes])
        del buffer[: head.body_bytes]
        self._head = None
        return self._server.begin(self._number, head, raw)

    def _carry_out(self, call: MockCall) -> None:
        plan = call.plan
        if plan.fault == "reset":
            self._reset(call)
        elif plan.fault == "hang":
            self._is_deaf = True  # until the client has had enough
        elif plan.delay_s > 0:
            self._later(plan.delay_s, lambda: self._respond_and_go_on(call))
        else:
            self._respond(call)

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, action)

    def _respond_and_go_on(self, call: MockCall) -> None:
        self._respond(call)
        self._go_on()

    def _go_on(self) -> None:
        self._advance()
        if self._is_paused and self._call is None and not (self._is_full or self._is_deaf):
            self._is_paused = False
            self._transport.resume_reading()

    def _respond(self, call: MockCall) -> None:
        plan, body = call.plan, self._server.body_of(call)
        head = response_head(plan.status or 200, len(body), plan.lines, closes=call.closes)
        if plan.fault == "cut":
            body = body[: len(body) // 2]
        self._transport.write(head + body)
        self._end(call, sent_bytes=len(body), client_gone=False)
        if plan.fault == "cut":
            self._is_deaf = True
            self._transport.close()
        elif call.closes:
            self._close_gently()

    def _close_gently(self) -> None:
        """Say that nothing more comes, and let the client finish what it is sending.

        To close with unread bytes is a reset, which may overtake the response.
        """
        self._is_deaf = True
        self._buffer.clear()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._later(LINGER_S, self._transport.abort)

    def _reset(self, call: MockCall) -> None:
        """Close with a TCP reset: lingering for zero seconds drops the connection at once."""
        self._end(call, sent_bytes=None, client_gone=False)
        self._is_deaf = True
        lingering = struct.pack("ii", 1, 0)
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        self._transport.abort()

    def _end(self, call: MockCall, *, sent_bytes: int | None, client_gone: bool) -> None:
        self._call = None
        self._server.end(self._number, call, sent_bytes=sent_bytes, client_gone=client_gone)
