"""HTTP as it comes: whole, in pieces, too much, too many at once, or none at all."""

import asyncio
import socket

import pytest

from llmscale.mock.wire import MAX_BODY_BYTES, MAX_HEAD_BYTES
from tests.mock.client import CHAT, HELLO, request, serving


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/completions", 404),
        ("POST", "/chat/completions", 404),
        ("GET", "/", 404),
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("POST", CHAT + "?api-version=1", 200),
    ],
)
async def test_another_path_is_404_and_another_method_405(
    method: str, path: str, status: int
) -> None:
    async with serving() as served:
        response = await (await served.connect()).ask(path=path, method=method)
    assert response.status == status
    if status != 200:
        assert list(response.json["error"]) == ["message", "type", "param", "code"]
        assert path in response.json["error"]["message"]


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b'"text"'])
async def test_bad_json_is_400_and_the_connection_goes_on(raw: bytes) -> None:
    async with serving() as served:
        client = await served.connect()
        refused = await client.ask(raw)
        assert refused.status == 400
        assert refused.json["error"]["type"] == "invalid_request_error"
        assert (await client.ask()).status == 200


async def test_a_body_that_is_too_large_is_413_before_it_is_read() -> None:
    async with serving() as served:
        client = await served.connect()
        length = f"content-length: {MAX_BODY_BYTES + 1}"
        client.writer.write(f"POST {CHAT} HTTP/1.1\r\n{length}\r\n\r\n".encode())
        client.writer.write(b"x" * 3_000_000)  # on its way already
        response = await client.response()
        assert response.status == 413
        assert "64 MB" in response.json["error"]["message"]
        assert response.headers["connection"] == "close"
        assert await client.reader.read() == b""


async def test_a_body_of_just_the_limit_is_read() -> None:
    async with serving() as served:
        client = await served.connect()
        response = await client.ask(b" " * MAX_BODY_BYTES)
    assert response.status == 400  # for it is no JSON


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"x" * MAX_HEAD_BYTES, 431),
        (b"POST / HTTP/1.1\r\nx: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"hello\r\n\r\n", 400),
        (b"POST / HTTP/2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 1e3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411),
    ],
)
async def test_what_can_not_be_read_is_refused_and_the_connection_closed(
    head: bytes, status: int
) -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(head)
        assert (await client.response()).status == status
        assert await client.reader.read() == b""


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving() as served:
        client = await served.connect()
        for byte in request(HELLO):
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.response()).status == 200


@pytest.mark.parametrize("latency", [0, 0.01])
async def test_requests_that_come_at_once_are_answered_in_order(latency: float) -> None:
    async with serving(latency=latency) as served:
        client = await served.connect()
        bodies = [{**HELLO, "model": f"m{number}"} for number in range(20)]
        client.writer.write(b"".join(map(request, bodies)))
        models = [(await client.response()).json["model"] for _ in bodies]
    assert models == [body["model"] for body in bodies]


async def test_a_client_that_sends_much_and_reads_nothing_is_not_read_without_end() -> None:
    async with serving() as served:
        client = await served.connect()
        many = 20_000
        client.writer.write(request(HELLO) * many)
        await asyncio.sleep(0.5)
        assert served.server.tally.calls < many
        for _ in range(many):
            assert (await client.response()).status == 200


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it() -> None:
    async with serving() as served:
        client = await served.connect()
        head, _, body = request(HELLO, headers={"expect": "100-continue"}).partition(b"\r\n\r\n")
        client.writer.write(head + b"\r\n\r\n")
        assert (await client.response()).status == 100
        client.writer.write(body)
        assert (await client.response()).status == 200


async def test_a_connection_is_closed_behind_the_answer_where_that_is_wanted() -> None:
    async with serving() as served:
        client = await served.connect()
        response = await client.ask(headers={"connection": "close"})
        assert response.status == 200
        assert await client.reader.read() == b""


async def test_it_listens_on_loopback_alone() -> None:
    async with serving() as served:
        (listening,) = served.server._server.sockets
        assert listening.family == socket.AF_INET
        assert listening.getsockname()[0] == "127.0.0.1"
