"""Runs of every kind with a secret as the key, most against a server that repeats it."""

import asyncio
import base64
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from tests.cli.tool import environment, lines_in, read_rows, start, stop, write_rows
from tests.security.canary import SECRET
from tests.security.tool import Place, to
from tests.servers.certificates import self_signed
from tests.servers.chat import ChatServer, Step
from tests.servers.embeddings import EmbeddingServer

BEARER = f"Bearer {SECRET}"

AT_THE_CUT = tuple(range(470, 505, 7))
"""Characters before the secret in a message of which 500 are kept."""


def spoken(secret: str) -> Iterator[str]:
    """Yield a secret as a server may write it into a text."""
    yield secret
    yield quote(secret, safe="")
    for before in ("", ":", "u:", "Bearer "):
        yield base64.b64encode(f"{before}{secret}".encode()).decode()
    yield base64.urlsafe_b64encode(secret.encode()).decode()


def completion(message: dict[str, Any], **more: Any) -> Step:
    """Return an answer as a server sends it."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return Step(body={"model": "m", "choices": [choice | more]})


ANSWERS = [
    *(completion({"content": f"You sent {text}."}) for text in spoken(SECRET)),
    completion({"content": None, "tool_calls": [{"id": "c", "function": {"arguments": BEARER}}]}),
    completion({"content": None, "refusal": f"I refuse {SECRET}"}),
    completion({"content": BEARER}, finish_reason=BEARER),
    completion({"content": BEARER}, finish_reason="content_filter"),
    Step(body=orjson.dumps({"choices": [{"message": {"content": SECRET}}]}).replace(b"/", b"\\/")),
    Step(body=b'{"choices": [{"message": {"content": "%s"}}]}' % (
        "".join(f"\\u{ord(c):04x}" for c in SECRET).encode()
    )),
    Step(body={"model": SECRET, "choices": [{"message": {"content": "hi"}}]}),
    Step(body={"choices": [], "sent": SECRET}),
    Step(body={"choices": {SECRET: SECRET}}),
]  # fmt: skip

ERRORS = [
    *(
        Step(status=status, body={"error": {"message": f"no {text}", "type": text, "code": text}})
        for status, text in zip((400, 404, 422, 500, 502, 503, 529), spoken(SECRET), strict=True)
    ),
    *(Step(status=500, body={"error": {"message": "x" * n + SECRET}}) for n in AT_THE_CUT),
    *(Step(status=500, body=b"<p>" + b"x" * n + SECRET.encode()) for n in AT_THE_CUT),
    *(Step(headers={f"x {'y' * (n - 70)}{SECRET}": "1"}) for n in AT_THE_CUT),
    Step(status=400, body=b'{"error": %s}' % json.dumps(SECRET).replace("/", "\\/").encode()),
    Step(status=400, body=b'{"error": %s' % json.dumps(SECRET).replace("/", "\\/").encode()),
    Step(status=200, body={"error": {"message": SECRET, "code": 400}}),
    Step(status=302, headers={"location": f"http://127.0.0.1:1/?{quote(SECRET)}"}),
    Step(status=307, headers={"location": f"http://{SECRET}/"}, body=SECRET.encode()),
    Step(status=429, headers={"retry-after": SECRET, "x-ratelimit-limit-requests": SECRET}),
    Step(status=429, headers={"set-cookie": f"{BEARER}=1", "www-authenticate": BEARER}),
    Step(body=SECRET.encode()),
    Step(body=SECRET.encode(), cut_after=20),
    Step(headers={"content-length": SECRET}),
    Step(headers={"content-encoding": SECRET}),
    Step(headers={"content-type": f"application/json; charset={SECRET}"}),
]


async def _answers_that_repeat_it(place: Place) -> None:
    place.rows(len(ANSWERS))
    async with ChatServer() as server:
        server.script(ANSWERS)
        await place.run("run", "in.jsonl", "-o", "o.jsonl", *to(server.base_url), "--verbose")
        assert {r.headers["authorization"] for r in server.requests} == {BEARER}
        await place.run("run", "in.jsonl", "-o", "-", *to(server.base_url), "--cache", "read")
    await place.run("cache", "export", "export.jsonl")
    told = [str(row["output"]) for row in read_rows(place.folder / "o.jsonl")]
    repeated = [text for text in told if text.startswith("You sent ")]
    assert len(repeated) == len(list(spoken(SECRET)))
    assert all("***" in text for text in repeated)


async def _errors_that_repeat_it(place: Place) -> None:
    script = [step for error in ERRORS for step in (Step(), error)]  # no run of failures alone
    place.rows(len(script))
    async with ChatServer() as server:
        server.script(script)
        one_by_one = ("--concurrency", "1", "-v")
        ended = await place.run("run", "in.jsonl", "-o", "o", *to(server.base_url), *one_by_one)
        assert len(server.requests) >= len(script), "a rate limit is waited out"
    assert ended.returncode == 1
    assert "***" in ended.stderr


async def _refused_key(place: Place) -> None:
    place.rows(2)
    async with ChatServer() as server:
        server.script([Step(status=401, body={"error": {"message": f"bad {BEARER}"}})] * 2)
        ended = await place.run(
            *("run", "in.jsonl", "-o", "o.jsonl", *to(server.base_url)),
            *("--verbose", "--log-format", "json"),
        )
    assert ended.returncode == 3
    assert "bad Bearer ***" in ended.stderr


async def _nobody_listens(place: Place) -> None:
    place.rows(2)
    async with ChatServer() as server:
        gone = server.base_url
    ended = await place.run("run", "in.jsonl", "-o", "o.jsonl", *to(gone), "--verbose")
    assert ended.returncode == 1


async def _bad_certificate(place: Place) -> None:
    place.rows(1)
    async with ChatServer(tls=self_signed()) as server:
        ended = await place.run("run", "in.jsonl", "-o", "o.jsonl", *to(server.base_url), "-v")
        assert server.requests == []
    assert "the certificate of 127.0.0.1 can't be verified" in ended.stderr


async def _killed(place: Place) -> None:
    place.rows(40)
    async with ChatServer() as server:
        server.script([completion({"content": SECRET})] * 8 + [Step(hang=True)] * 40)
        args = ("run", "in.jsonl", "-o", "o.jsonl", *to(server.base_url), "--verbose")
        process = subprocess.Popen(
            [sys.executable, "-m", "llmscale", *args],
            cwd=place.folder,
            env=environment(
                OPENAI_API_KEY=SECRET, LLMSCALE_CACHE_DIR="cache", LLMSCALE_CACHE_MODE="on"
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while lines_in(place.folder / "o.jsonl.partial") < 8:
            await asyncio.sleep(0.01)
        ended = stop(process, signal.SIGKILL)
    place.streams |= {"stdout killed": ended.stdout, "stderr killed": ended.stderr}
    left = {path.name for path in place.folder.rglob("*")}
    assert left >= {"o.jsonl.partial", "o.jsonl.lock", "o.jsonl.job.json", "cache.db"}


FAULT = """
import sys
import llmscale.{module} as module
from llmscale.cli import main
def fault(*_, **__):
    raise RuntimeError("planted")
module.{name} = fault
main()
"""


async def _faults_of_our_own(place: Place) -> None:
    place.rows(1)
    async with ChatServer() as server:
        for module, name in (
            ("providers.http.provider", "readings_of"),
            ("runtime.job_run", "precheck"),
        ):
            code = FAULT.format(module=module, name=name)
            args = ("run", "in.jsonl", "-o", f"{name}.jsonl", *to(server.base_url), "--verbose")
            ended = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", code, *args],
                cwd=place.folder,
                env=environment(OPENAI_API_KEY=SECRET),
                capture_output=True,
                text=True,
                check=False,
            )
            place.streams |= {f"stdout {name}": ended.stdout, f"stderr {name}": ended.stderr}
            assert "RuntimeError: planted" in ended.stderr
            assert "Traceback" in ended.stderr


async def _embeddings(place: Place) -> None:
    write_rows(place.folder / "in.jsonl", [{"text": f"text {n}"} for n in range(3)])
    async with EmbeddingServer() as server:
        one_by_one = ("--model", "openai/m", "--base-url", server.base_url, "--max-attempts", 1)
        server.script(
            [
                Step(status=400, body={"error": {"message": BEARER, "code": SECRET}}),
                Step(body={"data": [{"index": 0, "embedding": SECRET}], "model": SECRET}),
                Step(body={"data": [{"index": SECRET, "embedding": [1.0]}]}),
            ]
        )
        await place.run("embed", "in.jsonl", "-o", "v.jsonl", *one_by_one, "-v", "--batch-size", 1)
        loads = hasattr(sqlite3.Connection, "enable_load_extension")
        files = ("v.npy", "v.parquet", "v.db") if loads else ("v.npy", "v.parquet")
        exports = [word for name in files for word in ("--export", name)]
        ended = await place.run("embed", "in.jsonl", "-o", "v.jsonl", *one_by_one, *exports)
        assert ended.returncode == 0, ended.stderr
        await place.run("search", "text", "v.jsonl", "--base-url", server.base_url, "--json")
    assert len(read_rows(place.folder / "v.jsonl")) == 3


async def _mock_ledger(place: Place) -> None:
    place.rows(5)
    process = start("mock", "--ledger", "ledger", "--error-rate", 0.3, cwd=place.folder)
    assert process.stdout is not None
    base_url = process.stdout.readline().strip()
    try:
        await place.run("run", "in.jsonl", "-o", "o.jsonl", *to(base_url), "--verbose")
    finally:
        ended = stop(process, signal.SIGTERM)
    place.streams |= {"stdout mock": ended.stdout, "stderr mock": ended.stderr}
    arrived = [e for e in read_rows(place.folder / "ledger") if e["event"] == "arrived"]
    assert all(entry["authorization"] for entry in arrived)
    assert arrived


CASES: list[Callable[[Place], Awaitable[None]]] = [
    _answers_that_repeat_it,
    _errors_that_repeat_it,
    _refused_key,
    _nobody_listens,
    _bad_certificate,
    _killed,
    _faults_of_our_own,
    _embeddings,
    _mock_ledger,
]


def run_all(folder: Path) -> list[Place]:
    """Run every case in a folder of its own."""

    async def play() -> list[Place]:
        places = [Place(folder / case.__name__.strip("_")) for case in CASES]
        for case, place in zip(CASES, places, strict=True):
            await case(place)
        return places

    with asyncio.Runner() as runner:
        return runner.run(play())
