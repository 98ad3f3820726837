"""What is read: ugly rows, ids that are there twice, inputs of all kinds (I01 to I03)."""

import codecs
import gzip
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.benchmarks.jobs import MODEL, judge, prompt, read_lines
from tests.cli.tool import Run
from tests.reliability.against_servers import new_folder, run, while_serving
from tests.reliability.calls import calls_in
from tests.reliability.figures import Figure
from tests.reliability.ugly_rows import Ugly, strictly, ugly_rows
from tests.servers.chat import ChatServer, expected_answer


def _right(asked: str, model: str = MODEL) -> str:
    return expected_answer(model, [{"role": "user", "content": asked}])


def _ask(folder: Path, server: ChatServer, *options: object, **how: Any) -> Run:
    to = ("--model", f"openai/{MODEL}", "--base-url", server.base_url)
    return run(folder, *to, *options, **how)


def i01() -> Figure:
    """Ugly rows, each between two that are not."""
    rows = [row for n, ugly in enumerate(ugly_rows()) for row in (ugly, _neighbour(n))]
    with new_folder() as folder:
        (folder / "prompts.jsonl").write_bytes(b"".join(row.raw + b"\n" for row in rows))
        server = ChatServer(ledger=folder / "ledger", keep_requests=False)
        ended = while_serving([server], lambda: _ask(folder, server))
        calls = len(calls_in(folder / "ledger"))
        *written, rest = (folder / "out.jsonl").read_bytes().split(b"\n")
    lines = [strictly(line) for line in written]
    wrong = [
        row.name
        for number, (row, line) in enumerate(zip(rows, lines, strict=False))
        if not _is_right(row, line, number)
    ]
    missing = abs(len(rows) - len(lines)) + bool(rest)
    to_ask = sum(row.asks is not None for row in rows)
    value = f"{len(wrong)} wrong, {missing} missing, {calls - to_ask:+} calls {', '.join(wrong)}"
    met = not wrong and not missing and calls == to_ask and ended.returncode == 1
    what = f"{len(rows) // 2} ugly rows and their neighbours"
    return Figure("I01", what, len(rows), len(wrong) + missing, value, "0, 0, +0", met)


def _neighbour(number: int) -> Ugly:
    asked = prompt(number)
    return Ugly(f"the one behind {number}", orjson.dumps({"id": number, "prompt": asked}), asked)


def _is_right(row: Ugly, line: dict[str, Any], number: int) -> bool:
    if row.asks is None:
        error = line["error"] or {"type": None, "message": ""}
        is_told = f"line {number + 1}:" in error["message"]
        return line["output"] is None and error["type"] == "bad_row" and is_told
    fields = json.loads(row.raw.removeprefix(codecs.BOM_UTF8))
    kept = {name: fields.get(name) == line[name] for name in ("id", "metadata")}
    return all(kept.values()) and bool(line["output"] == _right(row.asks, row.model))


def i02_same(rows: int = 1_000) -> Figure:
    """Each row is there twice, with its id: one call, two rows."""
    half = [orjson.dumps({"id": f"row {n}", "prompt": prompt(n)}) for n in range(rows // 2)]
    with new_folder() as folder:
        (folder / "prompts.jsonl").write_bytes(b"\n".join([*half, *reversed(half)]))
        server = ChatServer(ledger=folder / "ledger")
        cache = ("--cache", "on", "--cache-dir", folder / "cache")
        ended = while_serving([server], lambda: _ask(folder, server, *cache))
        calls = len(calls_in(folder / "ledger"))
        lines = list(read_lines(folder / "out.jsonl"))
    expected = [(f"row {n}", _right(prompt(n))) for n in range(rows // 2)]
    found = [(line["id"], line["output"]) for line in lines]
    wrong = sum(a != b for a, b in zip(found, [*expected, *reversed(expected)], strict=True))
    value = f"{calls} calls for {rows} rows, {wrong} wrong, exit {ended.returncode}"
    met = wrong == 0 and calls == rows // 2 and ended.returncode == 0
    what = "one id and one content, twice"
    return Figure("I02", what, rows, wrong, value, f"{rows // 2}, 0, exit 0", met)


PLAIN = b'{"id":"a","prompt":"x"}'
BODY = b'"method":"POST","url":"/v1/chat/completions","body"'
CLASHES: list[tuple[bytes, bytes]] = [
    (PLAIN, b'{"id":"a","prompt":"y"}'),
    (PLAIN, b'{"id":"a","prompt":"x","seed":1}'),
    (PLAIN, b'{"id":"a","prompt":"x","metadata":1}'),
    (PLAIN, b'{"id":"a","prompt":7}'),
    (PLAIN, b'{"custom_id":"a","prompt":"y"}'),
    (PLAIN, b'{"\\u0069d":"a","id":"a","prompt":"y"}'),
    (b'{"id":7,"prompt":"x"}', b'{"id":7,"prompt":"y"}'),
    (b'{"id":"","prompt":"x"}', b'{"id":"","prompt":"y"}'),
    (
        b'{"custom_id":"a",%b:{"messages":[{"role":"user","content":"x"}]}}' % BODY,
        b'{"custom_id":"a",%b:{"messages":[{"role":"user","content":"y"}]}}' % BODY,
    ),
]


def i02_other(rows: int = 1_000) -> Figure:
    """One id with two contents, far apart: refused before any call, by the lines of both."""
    bad = []
    with new_folder() as folder:
        between = [orjson.dumps({"id": n + 100, "prompt": prompt(n)}) for n in range(rows)]
        server = ChatServer(ledger=folder / "ledger")

        def ask_all() -> None:
            for first, second in CLASHES:
                content = b"\n".join([*between[:3], first, *between[3:], second])
                (folder / "prompts.jsonl").write_bytes(content)
                ended = _ask(folder, server)
                named = f"line 4 and prompts.jsonl line {rows + 2};" in ended.stderr
                if ended.returncode != 2 or not named:
                    bad.append(second)

        while_serving([server], ask_all)
        calls = len(calls_in(folder / "ledger"))
    value = f"{calls} calls, {len(bad)} not refused by their lines"
    what = "one id, two contents"
    met = not bad and not calls
    return Figure("I02", what, len(CLASHES), len(bad) + calls, value, "0, 0, exit 2", met)


class Kind(NamedTuple):
    """A kind of input."""

    name: str
    content: bytes
    rows: int
    file: str = "prompts.jsonl"  # "-": standard input


def _lines(rows: int) -> bytes:
    return b"".join(orjson.dumps({"prompt": prompt(n)}) + b"\n" for n in range(rows))


def _halves(content: bytes) -> tuple[bytes, bytes]:
    middle = len(content) // 2
    return content[:middle], content[middle:]


KINDS = [
    Kind("0 rows", b"", 0),
    Kind("blank lines", b"\n \r\n\t\n", 0),
    Kind("1 row", _lines(1), 1),
    Kind("no newline at the end", _lines(3)[:-1], 3),
    Kind("CRLF, a BOM, blank lines", codecs.BOM_UTF8 + _lines(3).replace(b"\n", b"\r\n\r\n"), 3),
    Kind("gzip", gzip.compress(_lines(40)), 40, "prompts.jsonl.gz"),
    Kind("gzip, of nothing", gzip.compress(b""), 0, "prompts.jsonl.gz"),
    Kind("gzip, in two parts", b"".join(map(gzip.compress, _halves(_lines(40)))), 40, "p.gz"),
    Kind("standard input", _lines(40)[:-1], 40, "-"),
    Kind("standard input, empty", b"", 0, "-"),
]


def i03(kinds: Sequence[Kind] = KINDS) -> Figure:
    """Inputs of all kinds, each asked twice with a cache: exit 0, and nothing new to be asked."""
    bad = []
    with new_folder() as folder:
        for number, kind in enumerate(kinds):
            server = ChatServer(ledger=folder / str(number))
            codes = while_serving([server], partial(_twice, folder / f"of {number}", server, kind))
            calls = len(calls_in(folder / str(number)))
            verdict = judge(folder / f"of {number}" / "out.jsonl", kind.rows)
            if codes != [0, 0] or calls != kind.rows or not verdict.is_clean:
                bad.append(kind.name)
    value = f"{len(bad)} otherwise {', '.join(bad)}"
    what = "kinds of input, twice with a cache"
    return Figure("I03", what, len(kinds), len(bad), value, "exit 0, no call twice", not bad)


def _twice(folder: Path, server: ChatServer, kind: Kind) -> list[int]:
    folder.mkdir()
    if kind.file != "-":
        (folder / kind.file).write_bytes(kind.content)
    job = ("run", kind.file, "-o", "out.jsonl", "--cache", "on", "--cache-dir", folder / "cache")
    stdin = kind.content.decode() if kind.file == "-" else None
    runs = [
        _ask(folder, server, *options, job=job, stdin=stdin) for options in ((), ("--overwrite",))
    ]
    return [ended.returncode for ended in runs]


CASES: dict[str, list[Callable[[], Figure]]] = {
    "I01": [i01],
    "I02": [i02_same, i02_other],
    "I03": [i03],
}
