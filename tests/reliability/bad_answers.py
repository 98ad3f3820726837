"""Answers with status 200 that are none (P11): never a success, and never kept in the cache.

The second run asks a server that is well, with the cache of the first: what it asks was not kept.
An answer that was cut at its length is one, and is marked; it is not kept either. One that is whole
but says nothing of its usage is an answer like any other.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.jobs import MODEL, judge, prompt, read_lines, right_answer, write_prompts
from tests.reliability.against_servers import (
    DecidingServer,
    new_folder,
    run,
    to_servers,
    while_serving,
)
from tests.reliability.calls import calls_in
from tests.reliability.figures import Figure
from tests.servers.chat import ChatServer, Step, request_key

USAGE = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}


def _answer(
    content: object = "A wrong answer.", finish: str = "stop", usage: object = USAGE, **more: object
) -> Step:
    message = {"role": "assistant", "content": content, **more}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Step(body={"model": MODEL, "choices": [choice], "usage": usage})


def _raw(body: bytes, kind: str = "application/json") -> Step:
    return Step(headers={"content-type": kind}, body=body)


BAD: Mapping[str, Step] = {
    "no choices": Step(body={"model": MODEL, "choices": [], "usage": USAGE}),
    "no message": Step(body={"model": MODEL, "choices": [{}], "usage": USAGE}),
    "null content": _answer(None),
    "empty content": _answer(""),
    "a number": _answer(5),
    "an error": Step(body={"error": {"message": "overloaded", "code": 503}}),
    "an error and an answer": Step(
        body={"error": {"message": "no"}, "choices": [{"message": {"content": "A:0"}}]}
    ),
    "HTML": _raw(b"<html><h1>Bad gateway</h1></html>", "text/html"),
    "nothing": _raw(b""),
    "null": _raw(b"null"),
    "half of the JSON": _raw(b'{"choices": [{"message": {"content": "A:0'),
    "bad UTF-8": _raw(b'{"choices": [{"message": {"content": "A:\xff\xfe"}}]}'),
    "a lone surrogate": _raw(rb'{"choices": [{"message": {"content": "\ud800"}}]}'),
    "NaN": _raw(b'{"choices": [{"message": {"content": "A:0"}}], "usage": NaN}'),
    "too many levels": _raw(b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "broken off": _answer(finish="error"),
    "aborted": _answer(finish="abort"),
    "filtered": _answer(finish="content_filter"),
    "refused": _answer(None, refusal="I can't help with that."),
    "cut before its first word": _answer("", "length"),
}
WHOLE = "no usage"
CUT = "cut"


def p11(rows: int = 2_000, share: int = 5, attempts: int = 2) -> Figure:
    """A fifth of the rows gets an answer that is none, whenever it is asked."""
    kinds = [*BAD, CUT, WHOLE]
    kind_of = {index: kinds[index // share % len(kinds)] for index in range(0, rows, share)}
    steps = {prompt(index): _step(kind, index) for index, kind in kind_of.items()}
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        bad = DecidingServer(lambda _, asked: steps.get(asked))
        tries = ("--max-attempts", attempts, "--retry-time", 3)  # at the end it seems to be ill
        while_serving([bad], partial(_ask, folder, bad, *tries))
        lines = list(read_lines(folder / "out.jsonl"))
        well = ChatServer(ledger=folder / "ledger")
        while_serving([well], partial(_ask, folder, well, "--overwrite"))
        asked = Counter(call.key for call in calls_in(folder / "ledger"))
        verdict = judge(folder / "out.jsonl", rows)
    wrong = rows - len(lines) + sum(not _is_right(line, kind_of) for line in lines)
    not_kept = [_key(index) for index, kind in kind_of.items() if kind != WHOLE]
    kept = sum(asked[key] != 1 for key in not_kept)
    lost = asked.total() - len(not_kept)
    value = f"{wrong} rows wrong, {kept} kept, {lost} others not kept"
    met = wrong == kept == lost == 0 and verdict.is_clean
    what = f"{len(BAD)} answers that are none"
    return Figure("P11", what, len(not_kept), wrong + kept, value, "0, 0, 0", met)


def _step(kind: str, index: int) -> Step:
    if kind == CUT:
        return _answer(right_answer(index), "length")
    return _answer(right_answer(index), usage=None) if kind == WHOLE else BAD[kind]


def _key(index: int) -> str:
    return request_key(MODEL, [{"role": "user", "content": prompt(index)}])


def _ask(folder: Path, server: ChatServer, *options: object) -> None:
    to_servers(folder, [server.base_url])
    cache = ("--cache", "on", "--cache-dir", folder / "cache")
    run(folder, *cache, "--concurrency", 16, *options)


def _is_right(line: dict[str, Any], kind_of: Mapping[int, str]) -> bool:
    kind = kind_of.get(line["index"])
    if kind in BAD:
        return line["output"] is None and bool(line["error"]["type"])
    finish = "length" if kind == CUT else "stop"
    return bool(line["output"] == right_answer(line["index"])) and line["finish_reason"] == finish


CASES: dict[str, list[Callable[[], Figure]]] = {"P11": [p11]}
