"""The server: what arrives is counted, noted and planned; connections carry the plans out.

Knows no sockets but the one that it listens on. Limits and scenarios go by the seconds of its life,
which its clock counts.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Self

from llmscale.core.errors import StorageError
from llmscale.mock.answers import answer_to, models_body
from llmscale.mock.call import MockCall
from llmscale.mock.connection import MockConnection
from llmscale.mock.faults import Plan, Planner
from llmscale.mock.ledger import Arrived, Ended, Ledger, Started, Tally
from llmscale.mock.requests import InvalidRequest, Kind, MockRequest, read_request
from llmscale.mock.scenario import Scenario
from llmscale.mock.wire import Head, Unreadable, error_body

HOST = "127.0.0.1"
BACKLOG = 1024
MAX_MODEL_CHARACTERS = 200  # in the ledger

_KINDS: dict[str, Kind] = {"/v1/chat/completions": "chat", "/v1/embeddings": "embeddings"}
_MODELS = "/v1/models"
_INVALID = "invalid_request_error"


class MockServer:
    """Listens from the beginning of its `async with` block to the end; `base_url` says where."""

    base_url: str

    def __init__(
        self,
        scenario: Scenario,
        *,
        port: int = 0,
        seed: int = 0,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_failure: Callable[[StorageError], None] | None = None,
    ) -> None:
        """`on_failure` is called when the ledger can't be written.

        The clock of uvloop counts whole milliseconds, which is too coarse for a ledger.
        """
        self.tally = Tally()
        self._scenario = scenario
        self._planner = Planner(scenario, seed)
        self._port = port
        self._ledger = ledger
        self._clock = clock
        self._on_failure = on_failure
        self._connections: set[MockConnection] = set()
        self._connection_count = 0
        self._idle = asyncio.Event()
        self._working = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._started_s = self._clock()
        self._opened_s = time.time()
        self._idle.set()
        self._server = await loop.create_server(self._open, HOST, self._port, backlog=BACKLOG)
        self.base_url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}/v1"
        self._note(Started(self._time_s(self.life_s())))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._idle.wait()
        await self._server.wait_closed()

    def life_s(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._started_s

    # ---- for connections ----

    def begin(self, connection: int, head: Head, raw: bytes) -> MockCall:
        """Take a request that has arrived whole, and plan what becomes of it."""
        life_s = self.life_s()
        kind = _KINDS.get(head.path) if head.method == "POST" else None
        question = None
        if kind is None:
            plan = self._of_other_path(head, life_s)
        else:
            try:
                question = read_request(kind, raw)
                plan = self._planner.of_question(question, self._working, life_s)
            except InvalidRequest as error:
                body = error_body(str(error), _INVALID, param=error.param)
                plan = self._planner.of_other(400, body, life_s)
        call = self._call(kind or "other", question, plan, closes=head.closes)
        self._arrived(call, connection, life_s, len(raw), has_key=head.has_key)
        return call

    def refuse(self, connection: int, error: Unreadable) -> MockCall:
        """Take what no request can be read from."""
        life_s = self.life_s()
        plan = self._planner.of_other(error.status, error_body(str(error), _INVALID), life_s)
        call = self._call("other", None, plan, closes=True)
        self._arrived(call, connection, life_s, 0, has_key=False)
        return call

    def body_of(self, call: MockCall) -> bytes:
        """Return the body of the response."""
        if call.question is None or call.plan.body is not None:
            return call.plan.body or b""
        return answer_to(call.question, call.plan.finish_reason)

    def end(
        self, connection: int, call: MockCall, *, sent_bytes: int | None, client_gone: bool
    ) -> None:
        """Take note of a call's end; `sent_bytes`: of the body, None where no head was sent."""
        plan = call.plan
        if plan.works:
            self._working -= 1
        is_sent = sent_bytes is not None
        # a client that was gone before has seen no fault
        fault = plan.fault if is_sent or plan.status is None else None
        answered = is_sent and fault is None and plan.status == 200
        self.tally.count(
            answered=answered, refused=is_sent, faulty=fault is not None, left=client_gone
        )
        if self._ledger is None:
            return
        ended = Ended(
            time_s=self._time_s(self.life_s()),
            call=call.number,
            connection=connection,
            kind=call.kind,
            key=call.question.key if call.question else None,
            status=plan.status if is_sent else None,
            bytes=sent_bytes or 0,
            fault=fault,
            answered=answered,
            client_gone=client_gone,
        )
        self._note(ended)

    def closed(self, connection: MockConnection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._idle.set()

    # ---- inside ----

    def _open(self) -> MockConnection:
        self._connection_count += 1
        connection = MockConnection(self, self._connection_count, self.closed)
        self._connections.add(connection)
        self._idle.clear()
        return connection

    def _of_other_path(self, head: Head, life_s: float) -> Plan:
        if head.path == _MODELS and head.method == "GET":
            names = sorted(self._scenario.models) or ["mock"]
            return self._planner.of_other(200, models_body(names), life_s)
        known = head.path == _MODELS or head.path in _KINDS
        what = f"{head.method} {head.path}"[:200]
        if known:
            body = error_body(f"Not allowed to {what}", _INVALID, code="method_not_supported")
        else:
            body = error_body(f"Invalid URL ({what})", _INVALID, code="unknown_url")
        return self._planner.of_other(405 if known else 404, body, life_s)

    def _call(
        self, kind: str, question: MockRequest | None, plan: Plan, *, closes: bool
    ) -> MockCall:
        self.tally.calls += 1
        if plan.works:
            self._working += 1
        return MockCall(self.tally.calls, kind, question, plan, closes)

    def _arrived(
        self, call: MockCall, connection: int, life_s: float, size_bytes: int, *, has_key: bool
    ) -> None:
        if self._ledger is None:
            return
        question = call.question
        arrived = Arrived(
            time_s=self._time_s(life_s),
            call=call.number,
            connection=connection,
            kind=call.kind,
            model=question.model[:MAX_MODEL_CHARACTERS] if question else None,
            key=question.key if question else None,
            bytes=size_bytes,
            authorization=has_key,
        )
        self._note(arrived)

    def _time_s(self, life_s: float) -> float:
        return round(self._opened_s + life_s, 6)

    def _note(self, line: Started | Arrived | Ended) -> None:
        if self._ledger is None:
            return
        try:
            self._ledger.write(line)
        except StorageError as error:
            if self._on_failure is None:
                raise
            self._on_failure(error)
