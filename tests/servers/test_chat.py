"""The chat server does what its scripts say, since every other test believes it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.servers.chat import (
    ROOT,
    ChatServer,
    Step,
    chat_process,
    expected_answer,
    parse_faults,
    prompt_tokens,
)

HELLO = [{"role": "user", "content": "Say hello to the world."}]
BODY = {"model": "test", "messages": HELLO}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
        yield client


async def ask(
    client: aiohttp.ClientSession, server: ChatServer, body: object = BODY
) -> tuple[int, Any]:
    url = server.base_url + "/chat/completions"
    async with client.post(url, json=body) as response:
        return response.status, await response.json()


def entries(ledger: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in ledger.read_bytes().splitlines()]


async def test_the_answer_is_a_function_of_the_request(
    server: ChatServer, client: aiohttp.ClientSession
) -> None:
    status, answer = await ask(client, server)
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == expected_answer("test", HELLO)
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}
    assert expected_answer("other", HELLO) != expected_answer("test", HELLO)
    assert expected_answer("test", [{"content": "Say hello", "role": "user"}]) == expected_answer(
        "test", [{"role": "user", "content": "Say hello"}]
    )


def test_prompt_tokens_count_text_only_and_never_nothing() -> None:
    assert prompt_tokens([]) == 1
    assert prompt_tokens(["x", {"content": None}, {"content": "a" * 40}]) == 10


async def test_requests_are_kept_with_their_headers(
    server: ChatServer, client: aiohttp.ClientSession
) -> None:
    await client.post(server.base_url + "/messages", json=BODY, headers={"X-Api-Key": "k"})
    await client.post(server.base_url + "/chat/completions", data=b"no json")
    first, second = server.requests
    assert (first.method, first.path, first.body) == ("POST", "/v1/messages", BODY)
    assert first.headers["x-api-key"] == "k"
    assert (second.body, second.body_bytes) == (None, b"no json")
    assert first.time_s <= second.time_s


async def test_a_request_that_is_no_question_is_refused(
    server: ChatServer, client: aiohttp.ClientSession
) -> None:
    status, answer = await ask(client, server, ["no", "question"])
    assert status == 400
    assert set(answer["error"]) == {"message", "type", "code"}


async def test_a_script_comes_first_and_in_order(
    server: ChatServer, client: aiohttp.ClientSession
) -> None:
    server.script(
        [
            Step(status=529, headers={"Retry-After": "7"}),
            Step(body={"content": []}),
            Step(headers={"Content-Type": "text/html"}, body=b"<html>"),
        ]
    )
    url = server.base_url + "/messages"
    async with client.post(url, json=BODY) as refused:
        assert (refused.status, refused.headers["retry-after"]) == (529, "7")
    async with client.post(url, json=BODY) as scripted:
        assert await scripted.json() == {"content": []}
    async with client.post(url, json=BODY) as html:
        assert (html.content_type, await html.read()) == ("text/html", b"<html>")
    status, _ = await ask(client, server)
    assert status == 200


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Step(reset=True), aiohttp.ClientOSError),
        (Step(cut_after=0), aiohttp.ClientPayloadError),
        (Step(cut_after=10), aiohttp.ClientPayloadError),
        (Step(hang=True), TimeoutError),
        (Step(hang=True, cut_after=10), TimeoutError),
        (Step(trickle_s=0.05), TimeoutError),
        (Step(delay_s=5.0), TimeoutError),
    ],
)
async def test_broken_answers_break_as_scripted(
    tmp_path: Path, client: aiohttp.ClientSession, step: Step, error: type[Exception]
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with ChatServer(ledger=ledger) as server:
        server.script([step])
        with pytest.raises(error):
            async with asyncio.timeout(0.1):
                await ask(client, server)
        status, _ = await ask(client, server)
        assert status == 200
    ended = [entry for entry in entries(ledger) if entry["event"] == "ended"]
    assert [(e["call"], e["answered"]) for e in ended] == [(1, False), (2, True)]
    gone = error is TimeoutError
    assert [entry["client_gone"] for entry in ended] == [gone, False]


async def test_a_trickle_ends_with_the_whole_answer(
    server: ChatServer, client: aiohttp.ClientSession
) -> None:
    server.script([Step(body=b"[1, 2]", trickle_s=0.01)])
    started_s = asyncio.get_running_loop().time()
    assert await ask(client, server) == (200, [1, 2])
    assert asyncio.get_running_loop().time() - started_s >= 0.05


async def test_requests_arrive_whole_however_they_are_cut(server: ChatServer) -> None:
    body = orjson.dumps(BODY)
    request = b"POST /v1/x HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    closing = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    port = int(server.base_url.split(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for position in range(len(request)):
        writer.write(request[position : position + 1])
        await asyncio.sleep(0)
    writer.write(request + closing)
    answers = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answers.count(expected_answer("test", HELLO).encode()) == 3
    assert [received.body for received in server.requests] == [BODY] * 3


async def test_the_ledger_knows_of_a_key_but_not_the_key(
    tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with ChatServer(ledger=ledger) as server:
        headers = {"Authorization": "Bearer canary"}
        async with client.post(server.base_url, json=BODY, headers=headers) as response:
            await response.read()
        await ask(client, server)
    arrived, ended, second, _ = entries(ledger)
    assert (arrived["event"], ended["event"]) == ("arrived", "ended")
    assert "A:" + arrived["key"] == expected_answer("test", HELLO)
    assert arrived["connection"] == second["connection"] == 1
    assert (arrived["authorization"], second["authorization"]) == (True, False)
    assert b"canary" not in ledger.read_bytes()


async def statuses(client: aiohttp.ClientSession, seed: int) -> list[int]:
    async with ChatServer(faults="429:0.3,500:0.2", seed=seed) as server:
        return [(await ask(client, server))[0] for _ in range(100)]


async def test_faults_come_by_seed(client: aiohttp.ClientSession) -> None:
    first = await statuses(client, seed=1)
    assert 15 <= first.count(429) <= 45
    assert 8 <= first.count(500) <= 35
    assert first == await statuses(client, seed=1)
    assert first != await statuses(client, seed=2)


@pytest.mark.parametrize("spec", ["nonsense:0.1", "429", "429:0.6,500:0.6"])
def test_a_spec_that_makes_no_sense_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"nonsense|convert|add to more than 1"):
        parse_faults(spec)


async def test_closing_leaves_nothing_behind(client: aiohttp.ClientSession) -> None:
    async with ChatServer() as server:
        server.script([Step(hang=True)])
        asking = asyncio.create_task(ask(client, server))
        while not server.requests:
            await asyncio.sleep(0.001)
        assert server.open_connections == 1
    assert server.open_connections == 0
    with pytest.raises(aiohttp.ClientError):
        await asking
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_it_runs_as_a_process_of_its_own(
    tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with chat_process("--latency", 0.01, "--ledger", ledger) as base_url:
        async with client.post(base_url + "/chat/completions", json=BODY) as response:
            answer = await response.json()
    assert answer["choices"][0]["message"]["content"] == expected_answer("test", HELLO)
    arrived, ended = entries(ledger)
    assert ended["time_s"] - arrived["time_s"] >= 0.009


@pytest.mark.parametrize("by_signal", [True, False])
def test_the_process_stops_when_told_and_when_its_parent_is_gone(by_signal: bool) -> None:
    command = [sys.executable, "-m", "tests.servers.chat", "--with-parent"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        if by_signal:
            os.kill(process.pid, signal.SIGTERM)
        else:
            process.stdin.close()
        assert process.wait(timeout=5) == 0
