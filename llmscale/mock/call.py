"""A request that is being dealt with, and what a connection needs of its server."""

from typing import Protocol

import msgspec

from llmscale.mock.faults import Plan
from llmscale.mock.requests import MockRequest
from llmscale.mock.wire import Head, Unreadable


class MockCall(msgspec.Struct, frozen=True):
    """A request that is being dealt with."""

    number: int
    kind: str
    question: MockRequest | None
    plan: Plan
    closes: bool  # the connection, behind the response


class CallPlanner(Protocol):
    """The server as its connections see it: it plans each call and counts how it ended."""

    def begin(self, connection: int, head: Head, raw: bytes) -> MockCall:
        """Plan the answer to a request."""
        ...

    def refuse(self, connection: int, error: Unreadable) -> MockCall:
        """Plan the answer to bytes that hold no request."""
        ...

    def body_of(self, call: MockCall) -> bytes:
        """Return the body of the response."""
        ...

    def end(
        self, connection: int, call: MockCall, *, sent_bytes: int | None, client_gone: bool
    ) -> None:
        """Count a call's end; `sent_bytes`: of the body, None where no head was sent."""
        ...
