"""HTTP/1.1 as bytes: the head of a request in, a response out.

As much of RFC 9112 as clients of such an API use; what is beyond is refused with the status that
says so. Header lines are looked at and forgotten: of a key, only that there was one goes on.
"""

from http.client import responses as reason_phrases

import msgspec
import orjson

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_KEY_HEADERS = {"authorization", "api-key", "x-api-key"}


class Unreadable(Exception):
    """Behind this head no further request can be found; the connection has to close."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Head(msgspec.Struct, frozen=True):
    """What the head of a request says."""

    method: str
    path: str  # without a query
    body_bytes: int
    has_key: bool
    closes: bool  # the client wants the connection closed behind the answer
    waits: bool  # the client sends its body after a 100 Continue


def take_head(buffer: bytearray) -> Head | None:
    """Cut the head of a request out of the buffer; None: it is not whole. Raises `Unreadable`."""
    end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end < 0:
        if len(buffer) >= MAX_HEAD_BYTES:
            raise Unreadable(431, f"the headers are over {MAX_HEAD_BYTES // 1024} KB")
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    del buffer[: end + 4]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Unreadable(400, "this is no HTTP/1.1 request")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    connection = headers.get("connection", "").lower()
    return Head(
        method=words[0],
        path=words[1].partition("?")[0],
        body_bytes=_body_bytes(headers),
        has_key=not headers.keys().isdisjoint(_KEY_HEADERS),
        closes=connection == "close" or (words[2] == "HTTP/1.0" and connection != "keep-alive"),
        waits=headers.get("expect", "").lower() == "100-continue",
    )


def response_head(status: int, body_bytes: int, lines: str = "", *, closes: bool = False) -> bytes:
    """Return the head of a response; `lines` are further header lines."""
    closing = "connection: close\r\n" if closes else ""
    return (
        f"HTTP/1.1 {status} {reason_phrases.get(status, 'Unknown')}\r\n"
        f"content-type: application/json\r\ncontent-length: {body_bytes}\r\n{lines}{closing}\r\n"
    ).encode("latin-1")


def error_body(
    message: str, type_: str, *, param: str | None = None, code: str | None = None
) -> bytes:
    """Return an error as OpenAI writes it."""
    error = {"message": message, "type": type_, "param": param, "code": code}
    return orjson.dumps({"error": error})


def _body_bytes(headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise Unreadable(411, "this server takes no chunked body; send a content-length")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdecimal()):
        raise Unreadable(400, "invalid content-length")
    length_bytes = int(text[:20])
    if length_bytes > MAX_BODY_BYTES:
        raise Unreadable(413, f"the body is over {MAX_BODY_BYTES // 1024**2} MB")
    return length_bytes
