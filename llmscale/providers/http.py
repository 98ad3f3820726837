"""One endpoint over HTTP: a session, a key, and answers as bytes or as a classified failure.

Bounded in every direction (response size after decompression, no redirects, no cookies, TLS always
verified) but in number: how many calls are in flight is decided above. Never retries.
"""

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from msgspec.structs import replace
from yarl import URL

from llmscale import __version__
from llmscale.errors import CallFailed
from llmscale.nesting import MAX_LEVELS, is_too_deep
from llmscale.providers.failures import (
    bad_response,
    failure_in_success,
    failure_of_response,
    one_line,
)
from llmscale.records import Failure

MAX_RESPONSE_BYTES = 64 * 1024 * 1024


class HttpEndpoint:
    """Posts JSON to one address. `secret` is kept out of every message that leaves here."""

    def __init__(self, url: str, headers: Mapping[str, str], secret: str | None = None) -> None:
        self._url = URL(url)
        self._secret = secret
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"llmscale/{__version__}",
            **headers,
        }
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the JSON object that answers it.

        Raises `CallFailed`: an error status, no answer, an answer that is not a JSON object.
        """
        try:
            payload = orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            failure = Failure(kind="invalid_request", message=f"request is not JSON: {error}")
            raise CallFailed(failure) from None
        try:
            status, headers, raw = await self._exchange(payload)
        except aiohttp.ClientError as error:
            raise CallFailed(self._no_answer(error)) from None
        if status != 200:
            failure = failure_of_response(status, headers, self._without_secret(raw))
            raise CallFailed(self._masked(failure))
        answer = _json_object(raw)
        if answer.get("error"):
            failure = failure_in_success(answer["error"], self._without_secret(raw))
            raise CallFailed(self._masked(failure))
        return answer

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(self, payload: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self._opened().post(
            self._url, data=payload, headers=self._headers, allow_redirects=False
        ) as response:
            return response.status, response.headers, await _read_bounded(response)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
                # the caller sets the deadline; aiohttp rounds its own up to whole seconds
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _no_answer(self, error: aiohttp.ClientError) -> Failure:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            message = f"the certificate of {self._url.host} can't be verified"
            return Failure(kind="connection", message=message)
        reason = one_line(str(error)) or type(error).__name__
        message = f"no answer from {self._url.host}: {reason}"
        return self._masked(Failure(kind="connection", message=message, retryable=True))

    def _without_secret(self, raw: bytes) -> bytes:
        """Before a message is cut, so that no half of a key stays at its end."""
        return raw.replace(self._secret.encode(), b"***") if self._secret else raw

    def _masked(self, failure: Failure) -> Failure:
        """Servers like to repeat a key that they refuse."""
        if not self._secret or self._secret not in failure.message:
            return failure
        return replace(failure, message=failure.message.replace(self._secret, "***"))


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if (
        length is not None
        and length <= MAX_RESPONSE_BYTES
        and not response.headers.get("Content-Encoding")
    ):
        return await response.read()
    chunks = []
    total_bytes = 0
    async for chunk in response.content.iter_any():
        total_bytes += len(chunk)
        if total_bytes > MAX_RESPONSE_BYTES:
            response.close()
            limit_mb = MAX_RESPONSE_BYTES // 1024**2
            raise CallFailed(bad_response(f"answer of over {limit_mb} MB", retryable=False))
        chunks.append(chunk)
    return b"".join(chunks)


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise CallFailed(bad_response("the answer is not JSON")) from None
    if not isinstance(answer, dict):
        raise CallFailed(bad_response("the answer is not a JSON object"))
    if is_too_deep(raw, answer):
        raise CallFailed(bad_response(f"the answer has more than {MAX_LEVELS} levels of JSON"))
    return answer
