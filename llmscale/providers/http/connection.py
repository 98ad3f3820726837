"""The connections to one address: a body goes out, status, headers and body come back.

Bounded in every direction (response size after decompression, no redirects, no cookies, TLS always
verified) but in number: how many calls are in flight is decided above. Loading the HTTP client
takes a tenth of a second, so this module is imported at the first call and not before.
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack

import aiohttp
from yarl import URL

from llmscale.core.errors import CallFailed
from llmscale.core.records import Failure
from llmscale.providers.http.failures import bad_response, one_line
from llmscale.providers.http.redaction import Redaction

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
LARGE_BYTES = 4 * 1024 * 1024
LARGE_AT_ONCE = 4  # what is larger is read in turns, or all calls in flight could fill the memory


class Connection:
    """Posts bytes to one address, over as many sockets as there are calls."""

    def __init__(self, url: URL, headers: Mapping[str, str], redaction: Redaction) -> None:
        self._url = url
        self._headers = headers
        self._redaction = redaction
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            # the caller sets the deadline; aiohttp rounds its own up to whole seconds
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._turns = asyncio.Semaphore(LARGE_AT_ONCE)

    async def exchange(self, payload: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of the answer. Raises `CallFailed` where none comes."""
        try:
            async with self._session.post(
                self._url, data=payload, headers=self._headers, allow_redirects=False
            ) as response:
                return response.status, response.headers, await self._read(response)
        except aiohttp.ClientError as error:
            raise CallFailed(self._no_answer(error)) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length  # before decompression
        if length is not None and length > MAX_RESPONSE_BYTES:
            raise _too_large(response)
        is_packed = bool(response.headers.get("Content-Encoding"))
        if length is not None and length <= LARGE_BYTES and not is_packed:
            return await response.read()
        chunks = []
        total_bytes = 0
        async with AsyncExitStack() as turn:
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                total_bytes += len(chunk)
                if total_bytes > MAX_RESPONSE_BYTES:
                    raise _too_large(response)
                if total_bytes > LARGE_BYTES >= total_bytes - len(chunk):
                    await turn.enter_async_context(self._turns)
        return b"".join(chunks)

    async def aclose(self) -> None:
        """Close every socket."""
        await self._session.close()

    def _no_answer(self, error: aiohttp.ClientError) -> Failure:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            message = f"the certificate of {self._url.host} can't be verified"
            return Failure(kind="connection", message=message, unsent=True)
        if isinstance(error, aiohttp.ClientConnectorError) and error.errno is not None:
            message = f"no connection to {self._url.host}:{self._url.port}: {_reason(error)}"
            return Failure(kind="connection", message=message, retryable=True, unsent=True)
        unsent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        # before it is cut, so that no half of a key stays at its end
        reason = one_line(self._redaction.of_text(str(error))) or type(error).__name__
        message = f"no answer from {self._url.host}: {reason}"
        return Failure(kind="connection", message=message, retryable=True, unsent=unsent)


def _reason(error: aiohttp.ClientConnectorError) -> str:
    """Return the system's words for a connection that was not made, and not those of asyncio."""
    number = error.errno or 0
    words = os.strerror(number) if number > 0 else str(error.strerror)  # below 0: of a name
    return words[:1].lower() + words[1:]


def _too_large(response: aiohttp.ClientResponse) -> CallFailed:
    """Let go of the connection, on which more would come, and say so."""
    response.close()
    limit_mb = MAX_RESPONSE_BYTES // 1024**2
    return CallFailed(bad_response(f"answer of over {limit_mb} MB", retryable=False))
