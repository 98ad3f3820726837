"""A server in the test's own loop, a clock that the test sets, and a client that sees the bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from llmscale.mock.ledger import Ledger, Tally
from llmscale.mock.scenario_file import scenario_of
from llmscale.mock.server import MockServer

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Say hello to the world."}]}


@dataclass
class Clock:
    """The seconds of the server's life."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Response:
    """What came back; `raw` is its body as far as it came."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.raw)

    @property
    def text(self) -> str:
        """The answer of a chat completion."""
        content: str = self.json["choices"][0]["message"]["content"]
        return content


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(
        self,
        body: object = HELLO,
        path: str = CHAT,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and read its response."""
        self.send(body, path, method=method, headers=headers)
        return await self.response()

    def send(
        self,
        body: object = HELLO,
        path: str = CHAT,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request; a body of bytes goes out as it is."""
        self.writer.write(request(body, path, method=method, headers=headers))

    async def response(self) -> Response:
        """Read a response. Raises `IncompleteReadError` where the connection ends before it."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            raw = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Response(int(first.split(" ")[1]), headers, raw)


def request(
    body: object,
    path: str = CHAT,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of a request."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n{lines}\r\n"
    return head.encode() + raw


class Served:
    """A running server and its clock; every call of `connect` is another connection."""

    def __init__(self, server: MockServer, clock: Clock) -> None:
        self.server = server
        self.clock = clock
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        port = int(self.server.base_url.split(":")[2].partition("/")[0])
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        self._clients.append(client)
        return client

    async def until(self, condition: Callable[[Tally], object]) -> None:
        """Return when it is so of what the server has counted."""
        async with asyncio.timeout(10):
            while not condition(self.server.tally):
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.writer.close()


@asynccontextmanager
async def serving(
    *, file: Path | None = None, ledger: Path | None = None, seed: int = 0, **options: object
) -> AsyncIterator[Served]:
    """Serve with the options of the command; the clock stands still until it is set."""
    clock = Clock()
    scenario = scenario_of(options, None if file is None else str(file))
    written = None if ledger is None else Ledger(str(ledger))
    async with MockServer(scenario, seed=seed, ledger=written, clock=clock) as server:
        served = Served(server, clock)
        yield served
        await served.close()
    if written is not None:
        written.close()
