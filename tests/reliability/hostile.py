"""Servers that mean no good (P13): they send on, send without end, or are not who they say."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from llmscale.engine.balance.first_calls import MAX_FAILED
from llmscale.providers.http.connection import LARGE_AT_ONCE, LARGE_BYTES, MAX_RESPONSE_BYTES
from tests.benchmarks.jobs import read_lines, write_prompts
from tests.reliability.against_servers import (
    DecidingServer,
    new_folder,
    peak_of_run_mb,
    run,
    to_servers,
    while_serving,
)
from tests.reliability.calls import calls_in
from tests.reliability.figures import Figure
from tests.servers.certificates import self_signed
from tests.servers.chat import ChatServer, Step
from tests.servers.flood import FloodServer, announced, gzip_bomb, in_chunks

KEY = "sk-of-nobody"
REDIRECTS = (301, 302, 303, 307, 308)
FLOODS = {"1 GB": announced, "1 GB in chunks": in_chunks, "a gzip bomb of 1 GB": gzip_bomb}
SLACK_MB = 100  # of a process that reads


def redirects(rows: int = 500) -> Figure:
    """Sent on to another host, which must not see the calls, and so not the key."""
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        other = ChatServer(ledger=folder / "other")

        def decide(call: int, _prompt: str) -> Step | None:
            if call == 1:  # one answer, or the run would stop after the first failed calls
                return None
            elsewhere = other.base_url.replace("127.0.0.1", "localhost")
            status = REDIRECTS[call % len(REDIRECTS)]
            return Step(status=status, headers={"location": elsewhere + "/chat/completions"})

        server = DecidingServer(decide, ledger=folder / "ledger")
        while_serving([server, other], lambda: _ask(folder, server.base_url))
        calls, followed = calls_in(folder / "ledger"), len(calls_in(folder / "other"))
        failed = _failed(folder, "invalid_request")
    again = len(calls) - len(Counter(call.key for call in calls))
    value = f"{followed} followed, {again} asked twice, {failed} rows failed"
    met = followed == again == 0 and failed == rows - 1 and all(call.has_key for call in calls)
    what = "redirects to another host"
    return Figure("P13", what, rows, followed + again, value, f"0, 0, {rows - 1}", met)


def flood(what: str, rows: int = MAX_FAILED - 1) -> Figure:
    """More than anybody wants, to all calls in flight; how much memory does it take?"""
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        with_answers = ChatServer()
        usual_mb = while_serving([with_answers], lambda: _peak_mb(folder, with_answers.base_url))
        server: FloodServer = FLOODS[what]()
        options = ("--overwrite", "--no-adaptive")
        peak_mb = while_serving([server], lambda: _peak_mb(folder, server.base_url, *options))
        failed = _failed(folder, "bad_response")
    most_mb = (rows * LARGE_BYTES + LARGE_AT_ONCE * MAX_RESPONSE_BYTES) / 1e6 + SLACK_MB
    bad = rows - failed + server.calls - rows
    value = f"peak {peak_mb:.0f} MB, {peak_mb - usual_mb:+.0f} MB, {server.calls} calls"
    met = bad == 0 and peak_mb - usual_mb <= most_mb
    goal = f"<= +{most_mb:.0f} MB, {rows}"
    return Figure("P13", f"{what}, {rows} in flight", rows, bad, value, goal, met)


def false_certificate(rows: int = MAX_FAILED - 1) -> Figure:
    """A certificate that nobody has signed: not a byte of a request goes there."""
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        server = FloodServer(b"HTTP/1.1 200 OK\r\n\r\n{}", b"", 0, self_signed())
        while_serving([server], lambda: _ask(folder, server.base_url))
        failed = _failed(folder, "connection")
    value = f"{server.calls} requests there, {failed} rows failed"
    met = server.calls == 0 and failed == rows
    return Figure("P13", "self-signed", rows, server.calls, value, f"0, {rows}", met)


def _ask(folder: Path, base_url: str) -> None:
    to_servers(folder, [base_url])
    run(folder, OPENAI_API_KEY=KEY)


def _peak_mb(folder: Path, base_url: str, *options: object) -> float:
    to_servers(folder, [base_url])
    _, peak_mb = peak_of_run_mb(folder, *options, OPENAI_API_KEY=KEY)
    return peak_mb


def _failed(folder: Path, kind: str) -> int:
    """Return the rows that failed as they should."""
    lines = read_lines(folder / "out.jsonl")
    return sum(line["output"] is None and line["error"]["type"] == kind for line in lines)


CASES: dict[str, list[Callable[[], Figure]]] = {
    "P13": [redirects, *(partial(flood, what) for what in FLOODS), false_certificate]
}
