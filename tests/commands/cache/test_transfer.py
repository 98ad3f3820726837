"""Entries move to another cache as they are, and no invalid line becomes one."""

import os
import stat
import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from llmscale.commands import cache as cache_use
from llmscale.core.errors import ConfigError
from llmscale.engine.cache.keys import key_of
from tests.commands.cache import config, write_lines
from tests.engine.cache import (
    DAY_S,
    answer_to,
    fill,
    item,
    opened,
    pickle_that_touches,
    questions,
    request,
    sql,
)


def test_entries_move_to_another_folder_whole(folder: Path, tmp_path: Path) -> None:
    asked = [*questions(1100), request("x", model="sim/m", temperature=0.5)]
    fill(folder, asked, age_s=60)
    path = str(tmp_path / "moved.jsonl")
    there = config(tmp_path / "there")
    assert cache_use.export(config(folder).cache, path, "*") == 1101
    assert cache_use.import_(there.cache, path) == 1101
    with opened(folder) as one, opened(tmp_path / "there") as other:
        assert list(one.items()) == list(other.items())
        assert other.contents().models.keys() == {"openai/m", "sim/m"}
    assert cache_use.stats(there.cache).ages["1h"] == 1101
    assert min(age_s for age_s in _ages_s(tmp_path / "there")) >= 60  # its age moved along


def _ages_s(folder: Path) -> list[float]:
    with opened(folder) as store:
        return store.contents().ages_s


def test_an_export_has_only_the_models_of_the_pattern(folder: Path, tmp_path: Path) -> None:
    fill(folder, [request(model=model) for model in ("openai/a", "openai/b", "sim/a")])
    path = tmp_path / "moved.jsonl"
    assert cache_use.export(config(folder).cache, str(path), "openai/*") == 2
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted(line["model"] for line in lines) == ["openai/a", "openai/b"]
    assert lines[0].keys() == {"key", "model", "entry"}


@pytest.mark.parametrize("umask", [0o000, 0o022])
@pytest.mark.parametrize("was_there", [False, True])
def test_nobody_else_can_read_an_export(
    folder: Path, tmp_path: Path, umask: int, was_there: bool
) -> None:
    fill(folder, questions(1))
    if was_there:
        (tmp_path / "moved.jsonl").touch(0o666)
    before = os.umask(umask)
    try:
        cache_use.export(config(folder).cache, str(tmp_path / "moved.jsonl"), "*")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "moved.jsonl").stat().st_mode) == 0o600


def test_an_export_leaves_out_what_is_damaged_or_planted(folder: Path, tmp_path: Path) -> None:
    planted, damaged, intact = asked = questions(3)
    fill(folder, asked)
    touched = tmp_path / "touched"
    statement = "UPDATE Cache SET mode = 4, value = ? WHERE key = ?"
    sql(folder, statement, pickle_that_touches(touched), key_of(planted))
    sql(folder, "UPDATE Cache SET value = zeroblob(99) WHERE key = ?", key_of(damaged))
    insert = "INSERT INTO Cache (key, raw, mode, value, store_time) VALUES (?, ?, 4, x'00', 0)"
    sql(folder, insert, pickle_that_touches(touched), 0)
    sql(folder, insert, pickle_that_touches(touched), 1)
    sql(folder, insert, 5, 1)
    path = tmp_path / "moved.jsonl"
    assert cache_use.export(config(folder).cache, str(path), "*") == 1
    assert orjson.loads(path.read_bytes())["key"] == key_of(intact)
    assert cache_use.explain(config(folder), '{"prompt": "no such"}').misses == 1
    assert not touched.exists()


def test_an_expired_entry_is_not_revived_by_an_import(folder: Path, tmp_path: Path) -> None:
    old, young = questions(2)
    with opened(folder) as store:
        store.add([item(old, age_s=2 * DAY_S), item(young)])
    path = str(tmp_path / "moved.jsonl")
    cache_use.export(config(folder).cache, path, "*")
    there = config(tmp_path / "there", cache_ttl="1d")
    cache_use.import_(there.cache, path)
    assert cache_use.stats(there.cache).entries == 1


def exported_line(**changed: Any) -> bytes:
    one = item(request())
    line = {"key": one.key, "model": one.model, "entry": msgspec.to_builtins(one.entry)} | changed
    return orjson.dumps(line) + b"\n"


def test_an_exported_line_is_imported(folder: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "moved.jsonl", exported_line())
    assert cache_use.import_(config(folder).cache, path) == 1
    with opened(folder) as store:
        found = store.get(key_of(request()))
    assert found is not None
    assert found.reply == answer_to(request())
    assert found.created <= time.time()


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON\n",
        b"null\n",
        b"{}\n",
        b'{"prompt": "hello"}\n',
        b"\x80\x04\x95pickle\n",
        b'{"key": "\xff"}\n',
        pytest.param(b'{"x":' + b"[" * 100_000 + b"\n", id="deep"),
        pytest.param(exported_line(key="../../outside"), id="a path as a key"),
        pytest.param(exported_line(key="ab" * 31), id="a short key"),
        pytest.param(exported_line(key=5), id="a number as a key"),
        pytest.param(exported_line(model=None), id="no model"),
        pytest.param(exported_line(entry={"reply": {}}), id="no reply"),
    ],
)
def test_an_invalid_line_is_refused_with_its_number(
    folder: Path, tmp_path: Path, line: bytes
) -> None:
    path = write_lines(tmp_path / "moved.jsonl", exported_line(), line)
    with pytest.raises(ConfigError, match=r"moved\.jsonl line 2 is not an exported entry"):
        cache_use.import_(config(folder).cache, path)
