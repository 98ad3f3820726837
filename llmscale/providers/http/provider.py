"""One endpoint over HTTP: a key, JSON out, and a JSON object or a classified failure back.

Never retries, and never lets the key into a message or an answer.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from yarl import URL

from llmscale import __version__
from llmscale.core.errors import CallFailed
from llmscale.core.json_depth import MAX_LEVELS, is_too_deep
from llmscale.core.json_text import dumps, loads
from llmscale.core.records import Failure, Quota
from llmscale.providers.http.failures import (
    MAX_MESSAGE_CHARACTERS,
    bad_response,
    failure_in_success,
    failure_of_response,
    one_line,
)
from llmscale.providers.http.limit_evidence import QuotaEvidence
from llmscale.providers.http.notices import Notices
from llmscale.providers.http.quota import readings_of
from llmscale.providers.http.redaction import Redaction

if TYPE_CHECKING:
    from llmscale.providers.http.connection import Connection

log = logging.getLogger(__name__)


class HttpProvider:
    """What all providers have that talk to one `HttpEndpoint`; each adds its `send`."""

    def __init__(self, http: "HttpEndpoint") -> None:
        self._http = http

    @property
    def quota(self) -> Quota | None:
        """What the endpoint has last said about its limits."""
        return self._http.quota

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class HttpEndpoint:
    """Posts JSON to one address. `secret` is kept out of all that leaves here."""

    def __init__(self, url: str, headers: Mapping[str, str], secret: str | None = None) -> None:
        self._url = URL(url)
        self._redaction = Redaction(secret)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"llmscale/{__version__}",
            **headers,
        }
        self._connection: Connection | None = None
        self.notices = Notices(log)
        self._evidence = QuotaEvidence()
        self.quota: Quota | None = None
        """The limits a minute, as far as answers agree about them."""

    async def post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the JSON object that answers it.

        Raises `CallFailed`: an error status, no answer, an answer that is not a JSON object.
        """
        return self.read(await self.ask(body))

    async def ask(self, body: Mapping[str, Any]) -> bytes:
        """Send one request and return what answers it, unread.

        Raises `CallFailed`: an error status, no answer.
        """
        try:
            payload = dumps(body)
        except TypeError as error:
            failure = Failure(kind="invalid_request", message=f"request is not JSON: {error}")
            raise CallFailed(failure) from None
        status, headers, raw = await self._opened().exchange(payload)
        now_s = asyncio.get_running_loop().time()
        self._evidence.add(readings_of(headers), now_s, is_admitted=status != 429)
        self.quota = self._evidence.quota
        if not 200 <= status < 300:
            raise CallFailed(failure_of_response(status, headers, self._redaction.of_error(raw)))
        return self._redaction.of_answer(raw)

    def read(self, raw: bytes) -> dict[str, Any]:
        """Return an answer as JSON. Raises `CallFailed` for what is no object, or an error."""
        answer = _json_object(raw)
        if answer.get("error"):
            raise CallFailed(failure_in_success(answer["error"], self._redaction.of_error(raw)))
        return answer

    async def aclose(self) -> None:
        """Close every connection."""
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None

    def _opened(self) -> "Connection":
        if self._connection is None:
            # not before there is a call: a run that finds all in the cache never needs it
            from llmscale.providers.http.connection import Connection

            self._connection = Connection(self._url, self._headers, self._redaction)
        return self._connection


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        answer = loads(raw)
    except ValueError:
        raise CallFailed(bad_response(f"the answer is not JSON{_quoted(raw)}")) from None
    if not isinstance(answer, dict):
        raise CallFailed(bad_response(f"the answer is not a JSON object{_quoted(raw)}"))
    if is_too_deep(raw, answer):
        raise CallFailed(bad_response(f"the answer has more than {MAX_LEVELS} levels of JSON"))
    return answer


def _quoted(raw: bytes) -> str:
    """Return the server's own words, as the end of a message."""
    text = one_line(raw[: MAX_MESSAGE_CHARACTERS * 4].decode(errors="replace"))
    return f"; the server said: {text}" if text else "; it is empty"
