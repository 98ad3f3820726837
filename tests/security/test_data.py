"""What is read is data: it is not executed, not expanded, not taken for a file, and bounded."""

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from diskcache.core import MODE_PICKLE, MODE_TEXT

from llmscale.commands import help as manual
from llmscale.core.json_depth import MAX_LEVELS
from llmscale.providers.http.connection import MAX_RESPONSE_BYTES
from llmscale.providers.http.redaction import MIN_CHARACTERS
from llmscale.rows.sources import MAX_LINE_BYTES
from tests.cli.tool import read_rows, write_rows
from tests.engine.cache import pickle_that_touches, sql
from tests.reliability.figures import Figure, Shows
from tests.security.tool import Place, to
from tests.servers.chat import ROOT, ChatServer, Step

SIM = ("run", "in.jsonl", "-o", "o.jsonl", "--model", "sim/m", "--overwrite")


async def test_what_is_planted_in_the_cache_is_a_miss_and_does_nothing(
    tmp_path: Path, shows: Shows
) -> None:
    """CVE-2025-69872: diskcache unpickles what it finds, and opens and removes file names."""
    place, planted = Place(tmp_path / "run"), 5
    place.rows(20)
    touched, outside = tmp_path / "touched", tmp_path / "outside"
    await place.run(*SIM)
    (folder,) = (path.parent for path in tmp_path.rglob("cache.db"))
    keys = [key for (key,) in sql(folder, "SELECT key FROM Cache ORDER BY key")]
    entry = sql(folder, "SELECT value FROM Cache WHERE key = ?", keys[2])[0][0]
    outside.write_bytes(entry)  # would be believed, were it read
    bomb = pickle_that_touches(touched)
    change = "UPDATE Cache SET mode = ?, value = ?, filename = ? WHERE key = ?"
    sql(folder, change, MODE_PICKLE, bomb, None, keys[0])
    sql(folder, change, 2, bomb, None, keys[1])  # as bytes, which ours are
    sql(folder, change, MODE_TEXT, None, "../../outside", keys[2])
    sql(folder, change, MODE_PICKLE, None, str(outside), keys[3])
    sql(folder, "UPDATE Cache SET key = ?, raw = 0 WHERE key = ?", bomb, keys[4])
    ended = await place.run(*SIM)
    assert ended.returncode == 0, ended.stderr
    report = orjson.loads((place.folder / "o.report.json").read_bytes())
    assert report["cache"]["hits"] == 20 - planted
    assert report["cache"]["refused"] == planted - 1  # the fifth is no longer found at all
    for command in (("prune", "--cache-max-size", "1KB"), ("clear", "--yes")):
        ended = await place.run("cache", *command)
        assert ended.returncode == 0, ended.stderr
    harm = touched.exists() + (not outside.exists() or outside.read_bytes() != entry)
    value = f"{harm} executed, read or removed"
    shows(Figure("security", "planted in the cache", planted, harm, value, "0", harm == 0))


async def test_vectors_with_a_pickle_are_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write_rows(tmp_path / "v.jsonl", [{"id": "a", "vector": [1.0], "model": "sim/m"}])
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    content = (tmp_path / "v.npy").read_bytes()
    head = content[: content.index(b"\n") + 1]
    (tmp_path / "v.npy").write_bytes(head + pickle_that_touches(tmp_path / "touched"))
    ended = await place.run("search", "query", "v.npy", "--model", "sim/m")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (5, 1), ended.stderr
    assert not (tmp_path / "touched").exists()


EXPANDED = [
    "{b}",
    "{{b}}",
    "{0}",
    "{a.__class__.__mro__}",
    "{a!r:>99999999}",
    "%s %(b)s %d",
    "${HOME} $b ${b}",
    "$(id) `id`",
    "{{7*7}} {% for x in y %} <%= 7 * 7 %>",
    "\\x41\\u0041\\n",
    "</s><|im_end|>",
    "&lt;b&gt; %7Bb%7D",
    "f'{b}'",
    "file:///etc/passwd @/etc/passwd",
]
ATTRIBUTES = ["{a.__class__}", "{a[0]}", "{a!r:>9}"]


async def test_a_text_is_put_into_a_template_once_and_never_expanded(
    tmp_path: Path, shows: Shows
) -> None:
    place = Place(tmp_path)
    write_rows(tmp_path / "in.jsonl", [{"a": text, "b": "BBB"} for text in EXPANDED])
    run = ("run", "in.jsonl", "--concurrency", 1, "--cache", "off", "-o")
    async with ChatServer() as server:
        await place.run(
            *run,
            "o.jsonl",
            *to(server.base_url),
            "--template",
            "<{a}> {{a}} {b}",
            "--system",
            "{a}",
        )
        sent = [[m["content"] for m in r.body["messages"]] for r in server.requests]
        for number, template in enumerate(ATTRIBUTES):
            name = f"{number}.jsonl"
            ended = await place.run(*run, name, *to(server.base_url), "--template", template)
            assert ended.returncode == 1
            assert {row["error"]["type"] for row in read_rows(tmp_path / name)} == {"bad_row"}
        asked_in_vain = len(server.requests) - len(sent)
    right = [[text, f"<{text}> {{a}} BBB"] for text in EXPANDED]
    wrong = sum(one != other for one, other in zip(sent, right, strict=True)) + asked_in_vain
    value = f"{wrong} expanded twice, or by attribute"
    shows(
        Figure(
            "security", "templates", len(EXPANDED) + len(ATTRIBUTES), wrong, value, "0", wrong == 0
        )
    )


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


MB = 1024 * 1024


async def test_rows_and_answers_above_their_caps_fail_alone(tmp_path: Path, shows: Shows) -> None:
    place = Place(tmp_path)
    long_row = b'{"prompt": "%s"}' % (b"x" * 32 * MB)
    deep = b'{"prompt": "p", "metadata": %s}' % orjson.dumps(nested(128))
    deeper = b'{"prompt": "p", "metadata": %s%s}' % (b"[" * 100_000, b"]" * 100_000)
    fine = [b'{"prompt": "%d"}' % n for n in range(8)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([long_row, fine[0], deep, deeper, *fine[1:]]))
    packed = {"content-encoding": "gzip"}
    choices = b'{"choices": [{"message": {"content": "%s"}}]}'
    bombs = [
        Step(headers=packed, body=gzip.compress(choices % (b" " * 65 * MB), 1)),
        Step(headers={"x-long": "x" * 100_000}),
        Step(headers={f"x-{n}": "x" for n in range(20_000)}),
        Step(body=b'{"a": ' * 129 + b"1" + b"}" * 129),
        Step(body=b"[" * 100_000),
    ]
    async with ChatServer() as server:
        server.script(bombs)
        ended = await place.run("run", "in.jsonl", "-o", "o.jsonl", *to(server.base_url))
    assert ended.returncode == 1
    errors = [row["error"] and row["error"]["type"] for row in read_rows(tmp_path / "o.jsonl")]
    assert [errors[n] for n in (0, 2, 3)] == ["bad_row"] * 3
    asked = [error for n, error in enumerate(errors) if n not in (0, 2, 3)]
    assert asked.count(None) == 3
    assert sorted(filter(None, asked)) == ["bad_response"] * 3 + ["connection"] * 2
    taken = errors.count(None) - 3
    value = "each one failed row, its neighbours answered"
    shows(Figure("security", "caps of rows and answers", 8, taken, value, "0", taken == 0))


def test_the_manual_has_the_real_caps() -> None:
    text = " ".join(manual.page("security").split())
    row_mb, answer_mb = MAX_LINE_BYTES // MB, MAX_RESPONSE_BYTES // MB
    assert f"A row may have {row_mb} MB, an answer {answer_mb} MB after decompression" in text
    assert f"JSON {MAX_LEVELS} levels." in text
    assert f"keys of {MIN_CHARACTERS} or more characters" in text


def test_nothing_is_written_as_csv() -> None:
    """A cell that begins with = + - @ is a formula to a spreadsheet: who adds CSV quotes it."""
    modules = (ROOT / "llmscale").rglob("*.py")
    imports = re.compile("^ *(import csv|from csv)", re.MULTILINE)
    assert [path for path in modules if imports.search(path.read_text(encoding="utf-8"))] == []
