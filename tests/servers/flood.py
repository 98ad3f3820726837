"""A server that answers each call with more bytes than anybody wants."""

import asyncio
import ssl
import zlib
from contextlib import suppress
from typing import Self

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
BLOCK_BYTES = 64 * 1024
BLOCK = b" " * BLOCK_BYTES
GIGABYTE = 2**30


class FloodServer:
    """Sends a head, then the same block again and again, until the client has gone."""

    base_url: str

    def __init__(
        self, head: bytes, block: bytes, times: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self.calls = 0
        self.sent_bytes = 0
        self._head = head
        self._block = block
        self._times = times
        self._tls = tls

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._tls)
        scheme = "https" if self._tls else "http"
        self.base_url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.calls += 1
            writer.write(self._head)
            for _ in range(self._times):
                writer.write(self._block)
                await writer.drain()
                self.sent_bytes += len(self._block)
        writer.close()


def announced() -> FloodServer:
    """Return a server that says at once that a gigabyte comes."""
    head = HEAD + b"content-length: %d\r\n\r\n" % GIGABYTE
    return FloodServer(head, BLOCK, GIGABYTE // BLOCK_BYTES)


def in_chunks() -> FloodServer:
    """Return a server that does not say how much comes."""
    chunk = b"%x\r\n%b\r\n" % (BLOCK_BYTES, BLOCK)
    return FloodServer(HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk, GIGABYTE // BLOCK_BYTES)


def gzip_bomb() -> FloodServer:
    """Return a server that sends a megabyte which unpacks to a gigabyte."""
    piece = 16 * 2**20
    first = _flushed(piece, zlib.MAX_WBITS | 16)
    more = _flushed(piece, -zlib.MAX_WBITS)  # stands alone, behind a full flush
    times = GIGABYTE // piece - 1
    length = len(first) + times * len(more)
    head = b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % length
    return FloodServer(HEAD + head + first, more, times)


def _flushed(size: int, window_bits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, window_bits)
    return packer.compress(b" " * size) + packer.flush(zlib.Z_FULL_FLUSH)
