"""One endpoint over HTTP: bounded, never redirected, silent about its key, closed when given up."""

import asyncio
import gzip
import random
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest

from llmscale.accounting.prices import Prices
from llmscale.accounting.stats import Stats
from llmscale.core.errors import CallFailed
from llmscale.core.records import Failure, FailureKind, Request
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.retry import Balancer, RetryPolicy
from llmscale.engine.balance.strategies import strategy
from llmscale.providers.http.provider import HttpEndpoint
from llmscale.providers.openai import OpenAIChat
from tests.servers.certificates import self_signed
from tests.servers.chat import ChatServer, Step

KEY = "sk-canary-0123456789abcdef"
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
SMALL_CAP_BYTES = 50_000
BIG = b'{"choices": [], "filler": "' + b" " * 1_000_000 + b'"}'


@pytest.fixture
async def endpoint(server: ChatServer) -> AsyncIterator[HttpEndpoint]:
    endpoint = HttpEndpoint(server.base_url, {"Authorization": f"Bearer {KEY}"}, KEY)
    yield endpoint
    await endpoint.aclose()


async def failure_of(endpoint: HttpEndpoint) -> Failure:
    with pytest.raises(CallFailed) as raised:
        await endpoint.post(BODY)
    assert KEY not in f"{raised.value} {raised.value!r} {raised.value.failure!r}"
    return raised.value.failure


@asynccontextmanager
async def raw_server(response: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Yield the base URL of a server that answers each connection with these very bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):  # the client may leave in the middle
            writer.write(response)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"


async def none_connected(server: ChatServer) -> None:
    """Return when no client is connected any more; a generous second is a failure."""
    async with asyncio.timeout(1):
        while server.open_connections:
            await asyncio.sleep(0.002)


async def test_one_post_is_one_request(server: ChatServer, endpoint: HttpEndpoint) -> None:
    answer = await endpoint.post(BODY)
    assert answer["object"] == "chat.completion"
    received = server.requests[0]
    assert received.body == BODY
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("llmscale/")
    assert len(server.requests) == 1


async def test_a_connection_is_used_again(server: ChatServer, endpoint: HttpEndpoint) -> None:
    for _ in range(3):
        await endpoint.post(BODY)
    assert server.open_connections == 1


async def test_calls_at_the_same_time_are_not_bounded_here(
    server: ChatServer, endpoint: HttpEndpoint
) -> None:
    """aiohttp's own bound would be 100; how many there are is decided above."""
    server.script([Step(hang=True)] * 120)
    calls = []
    async with asyncio.timeout(2):
        for wave in range(1, 5):
            calls += [asyncio.create_task(endpoint.post(BODY)) for _ in range(30)]
            while server.open_connections < 30 * wave:
                await asyncio.sleep(0.002)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_cookie_is_not_kept(server: ChatServer) -> None:
    server.script([Step(headers={"set-cookie": "session=1"})])
    named = server.base_url.replace("127.0.0.1", "localhost")  # no jar keeps those of addresses
    endpoint = HttpEndpoint(named, {})
    await endpoint.post(BODY)
    await endpoint.post(BODY)
    await endpoint.aclose()
    assert "cookie" not in server.requests[1].headers


async def test_closing_closes_every_connection_and_can_be_done_twice(server: ChatServer) -> None:
    endpoint = HttpEndpoint(server.base_url, {})
    await endpoint.aclose()
    await endpoint.post(BODY)
    await endpoint.aclose()
    await endpoint.aclose()
    await none_connected(server)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_the_key_is_not_sent_on(
    server: ChatServer, endpoint: HttpEndpoint, status: int
) -> None:
    async with ChatServer() as other:
        server.script([Step(status=status, headers={"location": other.base_url})])
        failure = await failure_of(endpoint)
        assert other.requests == []
        assert other.open_connections == 0
    assert (failure.kind, failure.retryable) == ("invalid_request", False)
    assert failure.status == status


@pytest.mark.parametrize(
    ("step", "retryable"),
    [
        (Step(status=401, body={"error": {"message": f"Incorrect API key: {KEY}"}}), False),
        (Step(status=500, body=f"<h1>Authorization: Bearer {KEY}</h1>".encode()), True),
        (Step(body={"error": {"message": f"{KEY} is no key", "code": 401}}), False),
        (Step(status=500, body={"error": {"message": "x" * 490 + KEY}}), True),
        (Step(status=500, body={"key": KEY}), True),
        (Step(headers={f"x {KEY}": "1"}), True),
        *((Step(headers={f"x {'y' * n}{KEY}": "1"}), True) for n in (425, 430, 435)),
    ],
    ids=["message", "html", "in a success", "at the cut", "no message", "broken header"]
    + ["broken header at the cut"] * 3,
)
async def test_a_key_that_the_server_repeats_is_masked(
    server: ChatServer, endpoint: HttpEndpoint, step: Step, retryable: bool
) -> None:
    server.script([step])
    failure = await failure_of(endpoint)
    assert KEY[:8] not in failure.message, "not even the half of it that a cut leaves"
    assert failure.retryable is retryable


async def test_a_key_in_json_escapes_is_masked_too(
    server: ChatServer, endpoint: HttpEndpoint
) -> None:
    escaped = KEY.replace("-", "\\u002d")
    server.script([Step(status=400, body=b'{"message": "%s"}' % escaped.encode())])
    assert (await failure_of(endpoint)).message == "HTTP 400: ***"


async def test_a_key_that_the_server_puts_into_an_answer_is_masked(
    server: ChatServer, endpoint: HttpEndpoint
) -> None:
    server.script([Step(body={"text": f"You sent {KEY}."})])
    assert await endpoint.post(BODY) == {"text": "You sent ***."}


@pytest.mark.parametrize(
    "step",
    [
        Step(body=BIG),
        Step(status=500, body=BIG),
        Step(headers={"content-encoding": "gzip"}, body=gzip.compress(BIG)),
        Step(headers={"content-encoding": "deflate"}, body=zlib.compress(BIG)),
        Step(status=429, headers={"content-encoding": "gzip"}, body=gzip.compress(BIG)),
        Step(headers={"content-encoding": "gzip"}, body=gzip.compress(gzip.compress(BIG) + BIG)),
    ],
    ids=["plain", "error", "gzip bomb", "deflate bomb", "gzip bomb as error", "bomb in a bomb"],
)
async def test_an_answer_over_the_cap_is_refused_after_decompression(
    server: ChatServer, endpoint: HttpEndpoint, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmscale.providers.http.connection.MAX_RESPONSE_BYTES", SMALL_CAP_BYTES)
    server.script([step])
    failure = await failure_of(endpoint)
    assert (failure.kind, failure.retryable) == ("bad_response", False)
    assert "answer of over" in failure.message
    assert (await endpoint.post(BODY))["object"] == "chat.completion"


@pytest.mark.parametrize(
    "response",
    [
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BIG), BIG),
        b"connection: close\r\n\r\n" + BIG,
    ],
    ids=["chunked", "up to the end"],
)
async def test_an_answer_of_unknown_length_is_bounded_too(
    response: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmscale.providers.http.connection.MAX_RESPONSE_BYTES", SMALL_CAP_BYTES)
    async with raw_server(b"HTTP/1.1 200 OK\r\n" + response) as base_url:
        endpoint = HttpEndpoint(base_url, {})
        failure = await failure_of(endpoint)
        await endpoint.aclose()
    assert (failure.kind, failure.retryable) == ("bad_response", False)


async def test_an_answer_that_is_announced_as_too_large_is_not_read_at_all(
    server: ChatServer, endpoint: HttpEndpoint
) -> None:
    server.script([Step(headers={"content-length": str(2**30)}, body=b"{", hang=True, cut_after=1)])
    async with asyncio.timeout(2):
        failure = await failure_of(endpoint)
        await none_connected(server)
    assert (failure.kind, failure.retryable) == ("bad_response", False)


async def test_large_answers_are_read_in_turns_and_all_are_read(
    server: ChatServer, endpoint: HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that stops half-way holds its own turn and no other."""
    monkeypatch.setattr("llmscale.providers.http.connection.LARGE_BYTES", 100_000)
    server.script([Step(body=BIG, hang=True, cut_after=500_000), *[Step(body=BIG)] * 20])
    stuck = asyncio.create_task(endpoint.post(BODY))
    while not server.requests:
        await asyncio.sleep(0.002)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(endpoint.post(BODY) for _ in range(20)))
    assert answers == [orjson.loads(BIG)] * 20
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_an_answer_up_to_the_cap_is_taken(
    server: ChatServer, endpoint: HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmscale.providers.http.connection.MAX_RESPONSE_BYTES", SMALL_CAP_BYTES)
    body = b'{"filler": "' + b" " * (SMALL_CAP_BYTES - 14) + b'"}'
    assert len(body) == SMALL_CAP_BYTES
    packed = Step(headers={"content-encoding": "gzip"}, body=gzip.compress(body))
    server.script([Step(body=body), packed])
    assert await endpoint.post(BODY) == await endpoint.post(BODY) == orjson.loads(body)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Step(reset=True), "connection"),
        (Step(cut_after=0), "connection"),
        (Step(cut_after=20), "connection"),
        (Step(headers={"content-length": "-1"}), "connection"),
        (Step(headers={"content-length": "many"}), "connection"),
        (Step(headers={"content-encoding": "gzip"}, body=b"no gzip"), "connection"),
        (
            Step(headers={"content-encoding": "gzip"}, body=gzip.compress(b'{"a": 1}')[:-12]),
            "bad_response",
        ),
        (Step(headers={"content-encoding": "rot13"}, body=b"xx"), "bad_response"),
        (Step(headers={"x-long": "a" * 20_000}), "connection"),
        (
            Step(headers={"content-type": "application/json; charset=nonsense"}, body=b"{"),
            "bad_response",
        ),
        (Step(status=0), "connection"),
        (Step(status=999), "server_error"),
        (Step(body=b""), "bad_response"),
        (Step(body=b"{}" + b"\x00"), "bad_response"),
        (Step(body=b"null"), "bad_response"),
        (Step(body=b"[{}]"), "bad_response"),
        (Step(body=b'{"a": NaN}'), "bad_response"),
        (Step(body=b'{"a": ' * 300 + b"1" + b"}" * 300), "bad_response"),
        (Step(body=b"[" * 100_000), "bad_response"),
    ],
)
async def test_a_broken_answer_is_a_failure_in_one_short_line(
    server: ChatServer, endpoint: HttpEndpoint, step: Step, kind: FailureKind
) -> None:
    server.script([step])
    failure = await failure_of(endpoint)
    assert failure.kind == kind
    assert failure.retryable
    assert not failure.unsent, "it may have been billed"
    assert not failure.stops_job
    assert "\n" not in failure.message
    assert len(failure.message) < 600


async def test_after_a_broken_answer_the_next_call_is_answered(
    server: ChatServer, endpoint: HttpEndpoint
) -> None:
    server.script([Step(reset=True), Step(cut_after=10), Step(body=b"<html>")])
    for _ in range(3):
        await failure_of(endpoint)
    assert (await endpoint.post(BODY))["object"] == "chat.completion"


async def test_nobody_listening_is_a_connection_failure_worth_a_retry() -> None:
    async with ChatServer() as server:
        gone = HttpEndpoint(server.base_url, {})
    failure = await failure_of(gone)
    await gone.aclose()
    assert (failure.kind, failure.retryable, failure.status) == ("connection", True, None)
    assert failure.unsent, "nobody can have billed it"


async def test_a_certificate_that_nobody_signed_is_refused_for_good() -> None:
    """P13. Nothing is sent, and a second try would fare no better."""
    async with raw_server(b"HTTP/1.1 200 OK\r\n\r\n{}", self_signed()) as base_url:
        endpoint = HttpEndpoint(base_url, {"Authorization": f"Bearer {KEY}"}, KEY)
        failure = await failure_of(endpoint)
        await endpoint.aclose()
    assert (failure.kind, failure.retryable, failure.unsent) == ("connection", False, True)
    assert "certificate" in failure.message


SILENCES = [
    Step(hang=True),
    Step(hang=True, cut_after=0),
    Step(hang=True, cut_after=10),
    Step(trickle_s=0.05),
    Step(delay_s=30),
]


@pytest.mark.parametrize(
    "step", SILENCES, ids=["hang", "headers, then silence", "cut", "trickle", "late"]
)
async def test_a_silent_server_is_left_at_the_timeout_and_its_connection_closed(
    server: ChatServer, step: Step
) -> None:
    """P05: the attempt ends by the deadline, and the server sees its client go."""
    server.script([step])
    provider = OpenAIChat(server.base_url)
    stats = Stats()
    endpoint = Endpoint("here", provider, Slots(1), Prices(is_listed=False))
    pool = Pool([endpoint], strategy("least-loaded", "openai/m", random.Random(0)))
    policy = RetryPolicy(timeout_s=0.2, max_attempts=1)
    balanced = Balancer(lambda _: pool, policy, stats)
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(CallFailed) as raised:
        await balanced.send((Request(model="openai/m", messages=BODY["messages"]),))
    assert asyncio.get_running_loop().time() - began_s < 1.2
    assert (raised.value.failure.kind, raised.value.failure.retryable) == ("timeout", True)
    assert "0.2 s" in raised.value.failure.message
    await none_connected(server)
    assert endpoint.in_flight == 0
    assert stats.calls().failures == {"timeout": 1}
    await provider.aclose()


async def test_a_cancelled_call_closes_its_connection(
    server: ChatServer, endpoint: HttpEndpoint
) -> None:
    server.script([Step(hang=True)])
    call = asyncio.create_task(endpoint.post(BODY))
    while not server.requests:
        await asyncio.sleep(0.002)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await none_connected(server)
